"""Small images, wheels and build contexts for tests, made without any engine."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fearless import layer, oci
from fearless.interfaces import BuildContext, Image, Release

SHA = "4f2a9c1" + "0" * 33
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def release(sha: str = SHA, app: str = "shop") -> Release:
    """A release of that SHA."""
    name = f"20261123-{sha[:7]}"
    return Release(app, sha, name, f"release/{name}", f"{app}-r-{sha[:10]}")


@dataclass
class FakeProject:
    """What providers of containers and machine images need of a project."""

    root: Path
    registry: object = None

    @property
    def ops(self) -> Path:
        return self.root

    @property
    def directory(self) -> Path:
        return self.root / ".fearless"


def context(directory: Path, files: Mapping[str, str | bytes]) -> BuildContext:
    """A build context as core makes it; a file whose text starts with `#!` is executable."""
    directory.mkdir(parents=True, exist_ok=True)
    archive = directory / "context.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sorted(files.items()):
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(info, io.BytesIO(data))
    return BuildContext(archive)


def wheel(name: str, modules: Mapping[str, str], scripts: Mapping[str, str] | None = None) -> bytes:
    """The bytes of `<name>-1.0-py3-none-any.whl`; `scripts` maps a command to `module:function`."""
    files = dict(modules)
    info = f"{name}-1.0.dist-info"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if scripts:
        lines = [f"{command} = {target}" for command, target in scripts.items()]
        files[f"{info}/entry_points.txt"] = "\n".join(["[console_scripts]", *lines, ""])
    record = "".join(f"{path},sha256={_hash(text)},{len(text)}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return out.getvalue()


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def tarball(path: Path, members: Mapping[str, layer.Member]) -> Path:
    """A layer file."""
    layer.write(path, members)
    return path


def text(content: str, mode: int = 0o644) -> layer.Member:
    """A file of a layer."""
    return layer.Member(mode, content.encode)


def image(
    layout: oci.Layout, *layers: Path, repository: str = "shop", tag: str = SHA, **config: object
) -> Image:
    """An image of those layer files in the layout, tagged; `config` as in an image's `config`."""
    blobs = []
    for path in layers:
        with path.open("rb") as stream:
            blobs.append(layout.put_stream(stream, oci.LAYER))
    data = oci.canonical(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in blobs]},
        }
    )
    manifest = layout.put_image(data, tuple(blobs))
    layout.tag(tag, manifest)
    image_id = layout.manifest(manifest.digest).config.digest
    return Image(repository, tag, manifest.digest, image_id, f"oci:{layout.root}")
