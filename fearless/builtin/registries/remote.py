"""What every registry on the network does alike: find, push, pull, copy and alias by digest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from fearless import oci, oci_reference
from fearless.builtin.registries import engine_push, manifests
from fearless.builtin.registries.distribution import Client
from fearless.builtin.registries.manifests import Document, Found, NoOneImage
from fearless.builtin.registries.session import CONNECTIONS, Address, Session
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Image, Login, Release
from fearless.local import engine
from fearless.oci_reference import Reference

MOVING = ("branch-*", "cache-*")
"""Tags that may name another image tomorrow. All others are made once."""


class Remote(ABC):
    """The Registry and the RemoteRegistry of one place. Subclasses say where it is, and whose.

    `platform` (`linux/amd64`) is needed only where a tag names an index of several.
    """

    timeout: float = 60
    """Seconds that a registry may be silent."""

    def __init__(self, platform: str = "") -> None:
        self.platform = platform
        self._client: Client | None = None

    @abstractmethod
    def address(self) -> Address:
        """Where the registry is."""

    @abstractmethod
    def login(self) -> Login | None:
        """How an engine, or this client, signs in now."""

    @abstractmethod
    def repository(self, app: str) -> str:
        """The repository of an app's images."""

    def prepare(self, app: str) -> None:
        """Called before anything is pushed. Most registries make repositories by themselves."""
        return

    @property
    def client(self) -> Client:
        """Of this registry."""
        if self._client is None:
            self._client = Client(Session(self.address(), self.login, self.timeout))
        return self._client

    def name(self, app: str, tag: str) -> str:
        """`registry.example.com/team/shop:tag`, as an engine calls it."""
        return str(Reference(self.address().host, self.repository(app), tag))

    # ------------------------------------------------------------------------ looking

    def find(self, release: Release) -> Image | None:
        """The image of the release's app tagged with its SHA."""
        found = self.found(release.app, release.sha)
        return self.image(release.app, release.sha, found) if found else None

    def found(self, app: str, reference: str) -> Found | None:
        """What a tag or digest of an app's repository leads to."""
        return self._found(self.client, self.repository(app), reference)

    def tagged(self, app: str) -> list[tuple[Image, Found | None]]:
        """Every tag with what it leads to; several are asked for at once.

        What is tagged there and is no one image has no id.
        """

        def look(tag: str) -> tuple[Image, Found | None] | None:
            try:
                found = self.found(app, tag)
                return (self.image(app, tag, found), found) if found else None
            except (NoOneImage, oci.CorruptImage):
                held = self.client.digest(self.repository(app), tag)
                return (self.no_image(app, tag, held), None) if held else None

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            found = pool.map(look, sorted(self.client.tags(self.repository(app))))
            return [there for there in found if there]

    def held(self, image: Image) -> str | None:
        """The digest that the image's tag names there, if that is the image; None if not."""
        repository = self.repository(image.repository)
        if self.client.digest(repository, image.tag) == image.digest:
            return image.digest
        found = self.found(image.repository, image.tag)
        return found.held if found and image.digest in found.digests else None

    def image(self, app: str, tag: str, found: Found) -> Image:
        """What was found, as core knows it."""
        image = self.no_image(app, tag, found.document.digest)
        return replace(image, image_id=found.manifest.config.digest)

    def no_image(self, app: str, tag: str, digest: str) -> Image:
        """What is known of a tag that names no one image."""
        source = Reference(self.client.host, self.repository(app), "", digest)
        return Image(app, tag, digest, "", f"registry:{source}")

    # ------------------------------------------------------------------------ pushing

    def push(self, image: Image) -> Image:
        """Store an image under its tag, and read it back.

        Its source is an OCI layout, a Docker engine, or another reference, here or elsewhere.
        Blobs that are there are not sent. Until everything is there, there is no tag.
        Raises Refused when the tag holds another digest, and CorruptImage when what is read back
        is not what was pushed.
        """
        kind, _, source = image.source.partition(":")
        if kind not in ("oci", "docker", "registry"):
            raise FearlessError(
                f"cannot push {image.repository}:{image.tag} from {image.source or 'nowhere'!r}: a "
                "source is `oci:<layout directory>`, `docker:<image id>` or `registry:<reference>`"
            )
        self.prepare(image.repository)
        held = self.found(image.repository, image.tag)
        wanted = image.digest or image.image_id or (source if kind == "docker" else "")
        if held and wanted and wanted not in held.digests:
            raise self._moves(image, held.held, wanted)
        if kind == "oci":
            pushed = self._from_layout(image, oci.Layout(Path(source)), held)
        elif kind == "docker":
            pushed = self._from_engine(image, source, held)
        else:
            pushed = self._from_registry(image, oci_reference.parse(source), held)
        return self._read_back(image, pushed)

    def alias(self, image: Image, tag: str) -> None:
        """Make `branch-*` or `cache-*` name an image that was pushed; other tags never move."""
        if not any(fnmatchcase(tag, pattern) for pattern in MOVING):
            raise Refused(f"the tag {tag!r} never moves: only {' and '.join(MOVING)} may")
        if not oci_reference.is_tag(tag):
            raise FearlessError(f"{tag!r} is not a tag: letters, digits, `_`, `.` and `-`")
        document = self.client.manifest(self.repository(image.repository), image.digest)
        if document is None:
            raise self._absent(image)
        self.client.put_manifest(self.repository(image.repository), tag, document)

    # ------------------------------------------------------------------------ pulling

    def pull(self, image: Image, into: Path) -> Path:
        """Add the image to the OCI layout `into`, tagged `<repository>:<tag>`; every byte checked.

        Raises FearlessError when the registry does not have that digest, or has lost a part of it.
        """
        found = self.found(image.repository, image.digest)
        if found is None:
            raise self._absent(image)
        if image.image_id and image.image_id not in found.digests:
            raise oci.CorruptImage(
                f"{image.reference}: its id is {found.manifest.config.digest}, not {image.image_id}"
            )
        layout = oci.Layout.create(into)
        for blob in found.manifest.blobs:
            self._fetch(image, layout, blob)
        manifest = layout.put(found.document.data, found.document.media_type)
        layout.tag(f"{image.repository}:{image.tag}", manifest)
        return into

    def _fetch(self, image: Image, layout: oci.Layout, blob: oci.Descriptor) -> None:
        if layout.has(blob):
            return
        with self.client.blob(self.repository(image.repository), blob.digest) as stream:
            if stream is None:
                raise oci.CorruptImage(
                    f"registry {self.client.host} has lost {blob.digest} of {image.reference}: "
                    "push the image again from where it was built"
                )
            layout.receive(stream, blob)

    # ---------------------------------------------------------------- the three sources

    def _from_layout(self, image: Image, layout: oci.Layout, held: Found | None) -> str:
        """Send what the registry lacks, also when a tag is there that has lost something."""
        repository = self.repository(image.repository)
        for blob in layout.verify(image.digest).blobs:
            if not self.client.has_blob(repository, blob.digest):
                self.client.upload(repository, blob, partial(layout.open, blob.digest))
        if held is None:
            self.client.put_manifest(
                repository, image.tag, manifests.of_layout(layout, image.digest)
            )
        return image.digest

    def _from_engine(self, image: Image, image_id: str, held: Found | None) -> str:
        """The engine sends what the registry lacks, so that layers travel once."""
        repository = self.repository(image.repository)
        if held and all(self.client.has_blob(repository, b.digest) for b in held.manifest.blobs):
            return held.document.digest
        name = Reference(self.address().host, repository, image.tag)
        with closing(engine.require()) as client:
            return engine_push.push(client, image_id, name, self.login(), self.address().settings)

    def _from_registry(self, image: Image, source: Reference, held: Found | None) -> str:
        """Built elsewhere: it is here under its tag already, or is copied by digest."""
        if held is None:
            return self.copy(source, image.repository, image.tag).document.digest
        if source.digest and source.digest not in held.digests:
            raise self._moves(image, held.held, source.digest)
        return held.document.digest

    def copy(self, source: Reference, app: str, tag: str) -> Found:
        """Put an image of any registry under an app's tag here, its digest unchanged.

        Blobs are mounted from another repository of this registry, and carried over from any other
        one, which is asked without a password. Raises FearlessError when the image is not there.
        """
        if not source.registry:
            raise FearlessError(f"{source} does not say at which registry it is")
        here = source.registry == self.client.host
        there = self.client if here else Client(Session(Address(source.registry), lambda: None))
        found = self._found(there, source.repository, source.digest or source.tag or "latest")
        if found is None:
            raise FearlessError(f"there is no image {source} to copy to {self.name(app, tag)}")
        target = self.repository(app)
        for blob in found.manifest.blobs:
            mounted = self.client.has_blob(target, blob.digest) or (
                here and self.client.mount(target, blob.digest, source.repository)
            )
            if not mounted:
                self.client.upload(
                    target, blob, partial(there.blob, source.repository, blob.digest)
                )
        self.client.put_manifest(target, tag, found.document)
        return found

    # ------------------------------------------------------------------------- parts

    def _found(self, client: Client, repository: str, reference: str) -> Found | None:
        def fetch(reference: str) -> Document | None:
            return client.manifest(repository, reference)

        mark = "@" if reference.startswith("sha256:") else ":"
        name = f"{client.host}/{repository}{mark}{reference}"
        return manifests.resolve(fetch, reference, self.platform, name)

    def _read_back(self, image: Image, wanted: str) -> Image:
        """What the tag holds after a push; it must be what was pushed."""
        found = self.found(image.repository, image.tag)
        if found is None:
            raise oci.CorruptImage(
                f"registry {self.client.host} took {image.repository}:{image.tag}, and it is gone"
            )
        if wanted not in found.digests:
            raise self._moves(image, found.held, wanted)
        if image.image_id and image.image_id not in found.digests:
            raise oci.CorruptImage(
                f"{image.repository}:{image.tag} at {self.client.host} has the id "
                f"{found.manifest.config.digest}, and {image.image_id} was pushed"
            )
        return self.image(image.repository, image.tag, found)

    def _moves(self, image: Image, held: str, wanted: str) -> Refused:
        return Refused(
            f"{self.name(image.repository, image.tag)} is {held} already, and would become "
            f"{wanted}: a tag never moves; delete it first if it must"
        )

    def _absent(self, image: Image) -> FearlessError:
        return FearlessError(
            f"registry {self.client.host} has no {self.repository(image.repository)}@"
            f"{image.digest}: build and push it with `doit image`"
        )
