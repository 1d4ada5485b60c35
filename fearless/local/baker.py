"""The embedded cloud's machine images: a folder that holds all an instance needs to start."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless import oci
from fearless.errors import FearlessError
from fearless.interfaces import Image, MachineImage, Release, Report

if TYPE_CHECKING:
    from fearless.project import Project

MANIFEST = "manifest.json"
IMAGES = "images"

_FIELDS = ("id", "app", "sha", "created", "inputs", "images")


class LocalBaker:
    """`[ami] use = "local"`: `directory` is a folder of the project, one folder per machine image.

    `<id>/manifest.json` says what it is, `<id>/images/` is an OCI image layout with every
    container image inside. A machine image is there complete or not at all.
    """

    def __init__(self, project: Project, directory: str = ".fearless/amis") -> None:
        self.project = project
        self.directory = project.root / directory

    def find(self, release: Release) -> MachineImage | None:
        """The machine image of the release's app and SHA; the newest when there are several."""
        ours = [
            entry
            for entry in self._manifests()
            if entry["app"] == release.app and entry["sha"] == release.sha
        ]
        return self._machine_image(max(ours, key=lambda e: str(e["created"]))) if ours else None

    def list(self, app: str) -> Sequence[MachineImage]:
        """Every machine image of the app, oldest first."""
        ours = [entry for entry in self._manifests() if entry["app"] == app]
        return [self._machine_image(e) for e in sorted(ours, key=lambda e: str(e["created"]))]

    def bake(self, release: Release, images: Sequence[Image], report: Report) -> MachineImage:
        """Copy the images in and check every byte.

        Raises FearlessError, and leaves nothing behind, when an image cannot be pulled or is
        not whole.
        """
        ordered = sorted(images, key=lambda image: (image.repository, image.tag))
        inputs = self.inputs(release, ordered)
        target = self.directory / f"ami-{inputs[:17]}"
        with oci.locked(self.directory / ".lock"):
            if target.is_dir() and _whole(target):
                report.line(f"{target.name} has these inputs already")
                return self._read(target)
            for left in self.directory.glob(".bake-*"):
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=self.directory, prefix=".bake-") as work:
                baked = Path(work) / "ami"
                self._bake(baked, ordered, report)
                manifest = {
                    "id": target.name,
                    "app": release.app,
                    "sha": release.sha,
                    "created": self._now().isoformat(timespec="microseconds"),
                    "inputs": inputs,
                    "images": [_described(image) for image in ordered],
                }
                oci.write_atomically(baked / MANIFEST, oci.canonical(manifest))
                if target.exists():
                    report.line(f"{target.name} is damaged and is replaced")
                    target.rename(Path(work) / "damaged")
                baked.rename(target)
        return self._read(target)

    def discard(self, image: MachineImage) -> None:
        """Delete the folder; already gone is fine."""
        target = self.directory / image.id
        with oci.locked(self.directory / ".lock"):
            if target.is_dir():
                with tempfile.TemporaryDirectory(dir=self.directory, prefix=".bake-") as work:
                    target.rename(Path(work) / "discarded")

    def inputs(self, release: Release, images: Sequence[Image]) -> str:
        """The hash of all a machine image is made of: the images and the files of `packer/`."""
        made_of = {
            "app": release.app,
            "sha": release.sha,
            "images": sorted(image.reference for image in images),
            "packer": folder_digests(self.project.ops / "packer"),
        }
        return hashlib.sha256(oci.canonical(made_of)).hexdigest()

    def _bake(self, baked: Path, images: Sequence[Image], report: Report) -> None:
        layout = oci.Layout.create(baked / IMAGES)
        for number, image in enumerate(images, 1):
            report.progress("bake", number, len(images), f"{image.repository}:{image.tag[:12]}")
            self.project.registry.pull(image, layout.root)
        for image in images:
            found = layout.verify(image.digest).config.digest
            if found != image.image_id:
                raise oci.CorruptImage(
                    f"{image.reference}: its id is {found}, and {image.image_id} was to be baked"
                )

    def _manifests(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.directory.glob(f"ami-*/{MANIFEST}")):
            yield _load(path)

    def _read(self, target: Path) -> MachineImage:
        return self._machine_image(_load(target / MANIFEST))

    def _machine_image(self, entry: dict[str, Any]) -> MachineImage:
        source = f"oci:{self.directory / entry['id'] / IMAGES}"
        images = tuple(Image(**image, source=source) for image in entry["images"])
        return MachineImage(entry["id"], entry["sha"], images, entry["inputs"])

    def _now(self) -> datetime:
        return datetime.now(UTC)


def folder_digests(folder: Path) -> dict[str, str]:
    """The digest of every file in a folder, by path; empty when there is no such folder."""
    return {
        str(path.relative_to(folder)): oci.digest_of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _described(image: Image) -> dict[str, str]:
    return {
        "repository": image.repository,
        "tag": image.tag,
        "digest": image.digest,
        "image_id": image.image_id,
    }


def _whole(target: Path) -> bool:
    try:
        layout = oci.Layout(target / IMAGES)
        for image in _load(target / MANIFEST)["images"]:
            layout.verify(image["digest"])
    except FearlessError:
        return False
    return True


def _load(path: Path) -> dict[str, Any]:
    try:
        entry = {key: json.loads(path.read_bytes())[key] for key in _FIELDS}
    except FileNotFoundError:
        raise oci.CorruptImage(f"{path} is missing") from None
    except (ValueError, TypeError, KeyError) as error:
        raise oci.CorruptImage(f"{path}: not a machine image's manifest ({error!r})") from None
    return entry
