"""What `docker save` writes and `docker load` reads, from and to an OCI image layout."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import IO

from fearless.oci import (
    LAYER,
    LAYER_GZIP,
    CorruptImage,
    Descriptor,
    Layout,
    canonical,
    hex_of,
)

_GZIP = b"\x1f\x8b"


def read(archive: Path, layout: Layout) -> Descriptor:
    """Store the one image of a `docker save` file; its id stays the digest of its config."""
    with tarfile.open(archive) as tar:
        try:
            (entry,) = json.loads(_member(tar, "manifest.json").read())
            config = _member(tar, entry["Config"]).read()
            diff_ids = json.loads(config)["rootfs"]["diff_ids"]
            names = entry["Layers"]
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptImage(f"{archive}: not a docker archive of one image ({error})") from error
        if len(names) != len(diff_ids):
            raise CorruptImage(f"{archive}: {len(names)} layers, its config has {len(diff_ids)}")
        layers = tuple(_store_layer(layout, _member(tar, name)) for name in names)
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        if layer.media_type == LAYER and layer.digest != diff_id:
            raise CorruptImage(f"{archive}: a layer is {layer.digest}, its config says {diff_id}")
    return layout.put_image(config, layers)


def write(layout: Layout, digest: str, out: Path, tags: tuple[str, ...] = ()) -> None:
    """Write an image as `docker load` reads it, the bytes of its configuration unchanged."""
    manifest = layout.verify(digest)
    config = layout.get(manifest.config.digest)
    name = f"{hex_of(manifest.config.digest)}.json"
    with tarfile.open(out, "w") as tar:
        _add(tar, name, config)
        for layer in manifest.layers:
            tar.add(layout.path(layer.digest), f"{hex_of(layer.digest)}/layer.tar", filter=_plain)
        layers = [f"{hex_of(layer.digest)}/layer.tar" for layer in manifest.layers]
        entry = {"Config": name, "RepoTags": list(tags) or None, "Layers": layers}
        _add(tar, "manifest.json", canonical([entry]))


def _store_layer(layout: Layout, stream: IO[bytes]) -> Descriptor:
    compressed = stream.read(2) == _GZIP
    stream.seek(0)
    return layout.put_stream(stream, LAYER_GZIP if compressed else LAYER)


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(f"{name} is not a file")
    return stream


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member
