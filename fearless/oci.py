"""The OCI image layout: blobs named by their content, manifests, and tags in an index."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fearless.errors import FearlessError

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
REF_NAME = "org.opencontainers.image.ref.name"

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_TEMPORARY = ".new-"


class CorruptImage(FearlessError):
    """An image's bytes are missing, damaged, or not what they claim to be."""


@dataclass(frozen=True)
class Descriptor:
    """What points at a blob: its type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the OCI specification writes it."""
        found = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return found | ({"annotations": dict(self.annotations)} if self.annotations else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Descriptor:
        """Read back what `to_json` wrote; raises CorruptImage when a field is missing."""
        try:
            return cls(
                data["mediaType"], data["digest"], data["size"], data.get("annotations") or {}
            )
        except (KeyError, TypeError) as error:
            raise CorruptImage(f"not an OCI descriptor: {data!r}") from error


@dataclass(frozen=True)
class Manifest:
    """One image: the descriptors of its configuration and of its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Everything the manifest refers to."""
        return (self.config, *self.layers)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read an image manifest; raises CorruptImage for anything else."""
        try:
            found = json.loads(data)
            config, layers = found["config"], tuple(found["layers"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptImage(f"{digest_of(data)} is not an image manifest ({error!r})") from error
        return cls(Descriptor.from_json(config), tuple(map(Descriptor.from_json, layers)))

    def to_bytes(self) -> bytes:
        """The manifest's bytes: equal manifests are equal bytes."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self.config.to_json(),
                "layers": [layer.to_json() for layer in self.layers],
            }
        )


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, so that equal values are equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(data: bytes) -> str:
    """`sha256:...` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """`sha256:...` of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def hex_of(digest: str) -> str:
    """The 64 hex digits of a digest; raises CorruptImage for anything else."""
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise CorruptImage(f"not a sha256 digest: {digest!r}")
    return match[1]


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, alone or with other readers. Freed when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, data: bytes) -> None:
    """Make the file appear complete or not at all, also for a reader that is looking now."""
    _publish(io.BytesIO(data), path.parent, lambda _: path)


class Layout:
    """An OCI image layout directory. Reading verifies; writing is atomic and repairs damage."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> Layout:
        """The layout at `root`, made empty when there is none."""
        layout = cls(root)
        layout._blobs.mkdir(parents=True, exist_ok=True)
        if not layout._index.exists():
            layout._write_index(())
        if not layout.exists():
            write_atomically(root / "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
        return layout

    def exists(self) -> bool:
        """True when the directory is an image layout."""
        return (self.root / "oci-layout").is_file()

    def lock(self, shared: bool = False) -> AbstractContextManager[None]:
        """Hold off other users of this layout: all (to change it), or those that change it."""
        return locked(self.root / ".lock", shared)

    # ------------------------------------------------------------------------- blobs

    def path(self, digest: str) -> Path:
        """Where the blob of that digest is kept, there or not."""
        return self._blobs / hex_of(digest)

    def put(self, data: bytes, media_type: str) -> Descriptor:
        """Store bytes; again is nothing."""
        return self.put_stream(io.BytesIO(data), media_type)

    def put_stream(self, stream: IO[bytes], media_type: str) -> Descriptor:
        """Store everything `stream` still holds, without holding it in memory."""
        path = _publish(stream, self._blobs, lambda found: self._blobs / found)
        return Descriptor(media_type, f"sha256:{path.name}", path.stat().st_size)

    def receive(self, stream: IO[bytes], blob: Descriptor) -> None:
        """Store what comes as that blob; CorruptImage, and nothing stored, when it is another."""

        def named(found: str) -> Path:
            if found != hex_of(blob.digest):
                raise CorruptImage(
                    f"{blob.digest} was damaged or replaced: what came instead is sha256:{found}"
                )
            return self._blobs / found

        _publish(stream, self._blobs, named)

    def has(self, blob: Descriptor) -> bool:
        """Whether the blob is there, whole and unchanged: every byte is read."""
        path = self.path(blob.digest)
        there = path.is_file() and path.stat().st_size == blob.size
        return there and digest_of_file(path) == blob.digest

    def get(self, digest: str) -> bytes:
        """A blob's bytes, checked; for small ones."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise CorruptImage(f"{self.root}: blob {digest} is missing") from None
        if digest_of(data) != digest:
            raise CorruptImage(f"{path}: the bytes do not have the digest in the file's name")
        return data

    def open(self, digest: str) -> IO[bytes]:
        """A blob's bytes as a stream, not checked."""
        return self.path(digest).open("rb")

    def check(self, blob: Descriptor) -> None:
        """Raise CorruptImage unless the blob is there, whole and unchanged."""
        path = self.path(blob.digest)
        if not path.is_file():
            raise CorruptImage(f"{self.root}: blob {blob.digest} is missing")
        if not self.has(blob):
            raise CorruptImage(f"{path}: the bytes do not have the digest in the file's name")

    # ------------------------------------------------------------------------ images

    def put_image(self, config: bytes, layers: tuple[Descriptor, ...]) -> Descriptor:
        """Store a configuration as it is, and the manifest over it; the manifest's descriptor."""
        return self.put(Manifest(self.put(config, CONFIG), layers).to_bytes(), MANIFEST)

    def manifest(self, digest: str) -> Manifest:
        """The manifest of that digest."""
        return Manifest.from_bytes(self.get(digest))

    def config(self, digest: str) -> dict[str, Any]:
        """The configuration of the image whose manifest has that digest."""
        return self._json(self.manifest(digest).config.digest)

    def verify(self, digest: str) -> Manifest:
        """Check every byte of an image; raises CorruptImage naming the file at fault."""
        manifest = self.manifest(digest)
        for blob in manifest.blobs:
            self.check(blob)
        return manifest

    def copy_from(self, other: Layout, digest: str) -> Descriptor:
        """Store another layout's image here, checked on both sides."""
        manifest = other.verify(digest)
        for blob in manifest.blobs:
            self._take(other, blob)
        data = other.get(digest)
        self._take(other, Descriptor(MANIFEST, digest, len(data)))
        self.verify(digest)
        return Descriptor(MANIFEST, digest, len(data))

    # -------------------------------------------------------------------------- tags

    def tags(self) -> dict[str, Descriptor]:
        """Every tagged manifest by its tag."""
        try:
            index = json.loads(self._index.read_bytes())
            found = [Descriptor.from_json(entry) for entry in index["manifests"]]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptImage(f"{self._index}: not an OCI image index ({error})") from error
        return {e.annotations[REF_NAME]: e for e in found if REF_NAME in e.annotations}

    def tag(self, name: str, manifest: Descriptor) -> None:
        """Make the tag name that manifest, whatever it named before."""
        entry = Descriptor(manifest.media_type, manifest.digest, manifest.size, {REF_NAME: name})
        self._write_index(tuple((self.tags() | {name: entry}).values()))

    def untag(self, name: str) -> None:
        """Remove the tag; already gone is fine."""
        self._write_index(tuple(entry for tag, entry in self.tags().items() if tag != name))

    def collect(self) -> None:
        """Delete every blob no tag reaches. Only while holding the lock."""
        keep = set()
        for entry in self.tags().values():
            keep |= {hex_of(entry.digest)}
            keep |= {hex_of(blob.digest) for blob in self.manifest(entry.digest).blobs}
        for path in self._blobs.iterdir():
            if path.name not in keep:
                path.unlink(missing_ok=True)

    # ---------------------------------------------------------------------- internals

    @property
    def _blobs(self) -> Path:
        return self.root / "blobs" / "sha256"

    @property
    def _index(self) -> Path:
        return self.root / "index.json"

    def _write_index(self, entries: tuple[Descriptor, ...]) -> None:
        ordered = sorted(entries, key=lambda entry: entry.annotations[REF_NAME])
        manifests = [entry.to_json() for entry in ordered]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        write_atomically(self._index, canonical(index))

    def _json(self, digest: str) -> dict[str, Any]:
        try:
            data = json.loads(self.get(digest))
        except ValueError as error:
            raise CorruptImage(f"{self.root}: {digest} is not JSON ({error})") from error
        if not isinstance(data, dict):
            raise CorruptImage(f"{self.root}: {digest} is not a JSON object")
        return data

    def _take(self, other: Layout, blob: Descriptor) -> None:
        path = self.path(blob.digest)
        if path.is_file() and digest_of_file(path) == blob.digest:
            return
        with other.path(blob.digest).open("rb") as stream:
            self.put_stream(stream, blob.media_type)


def _publish(stream: IO[bytes], directory: Path, target: Callable[[str], Path]) -> Path:
    """Copy a stream to a temporary file, then rename it to `target(hex digest of it)`."""
    hasher = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=directory, prefix=_TEMPORARY)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            while chunk := stream.read(1 << 20):
                hasher.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        path = target(hasher.hexdigest())
        temporary.replace(path)
        return path
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
