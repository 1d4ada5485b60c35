"""What every contract suite is given: releases, images and build contexts with random names."""

from __future__ import annotations

import io
import secrets
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fearless import layer, names, oci
from fearless.errors import FearlessError
from fearless.interfaces import BuildContext, Image, Kind, Release
from fearless.testing.fakes import SilentReport

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Contract:
    """What all suites share."""

    stand_in = False
    """True for a provider that only pretends: no real bytes, engines or clocks behind it."""

    @pytest.fixture
    def app(self) -> str:
        """The name of an app nobody else has."""
        return f"c{secrets.token_hex(4)}"

    @pytest.fixture
    def release(self, app: str) -> Release:
        """A release of that app."""
        return a_release(app)

    @pytest.fixture
    def report(self) -> SilentReport:
        """A report that remembers its lines."""
        return SilentReport()

    def need_the_real_thing(self) -> None:
        """Skip the test for a stand-in."""
        if self.stand_in:
            pytest.skip("a stand-in has nothing real behind it")


def a_release(app: str, kind: Kind = "release") -> Release:
    """A release (or dev stack) of a SHA nobody has seen before."""
    sha = secrets.token_hex(20)
    if kind == "dev":
        return names.devstack(app, f"feature/{sha[:6]}", sha, "20260101")
    return names.release(app, sha, "20260101")


def of_app(release: Release, app: str) -> Release:
    """Another app's release of the same commit, as in a repository with two apps."""
    return names.release(app, release.sha, "20260101")


def an_image(directory: Path, release: Release, text: str = "one") -> Image:
    """A small image of the release as an OCI layout in `directory`; `text` is in its top layer."""
    layout = oci.Layout.create(directory)
    blobs = []
    for name, content in (("base", "the same in all of them"), ("app", text)):
        path = directory / "layer.tar"
        layer.write(path, {f"app/{name}.txt": layer.Member(0o644, content.encode)})
        with path.open("rb") as stream:
            blobs.append(layout.put_stream(stream, oci.LAYER))
        path.unlink()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["python", "-c", "1"]},
        "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in blobs]},
    }
    manifest = layout.put_image(oci.canonical(config), tuple(blobs))
    layout.tag(release.sha, manifest)
    image_id = layout.manifest(manifest.digest).config.digest
    return Image(release.app, release.sha, manifest.digest, image_id, f"oci:{directory}")


def a_context(directory: Path, files: Mapping[str, str]) -> BuildContext:
    """A build context as Fearless makes it: normalised, in the order of names."""
    directory.mkdir(parents=True, exist_ok=True)
    archive = directory / "context.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, text in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return BuildContext(archive)


def without_source(image: Image) -> Image:
    """What must be read back: everything but where the bytes came from."""
    return replace(image, source="")


@contextmanager
def explained() -> Iterator[pytest.ExceptionInfo[FearlessError]]:
    """What happens inside must fail with one line that a person can act on."""
    with pytest.raises(FearlessError) as caught:
        yield caught
    message = str(caught.value)
    assert "\n" not in message, f"more than one line: {message!r}"
    assert len(message) > 15, f"too short to act on: {message!r}"
