"""Keeps container images in a folder: one OCI image layout per repository."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fearless import oci
from fearless.errors import FearlessError, Refused
from fearless.image_source import opened
from fearless.interfaces import Image, Release, StoredImage

if TYPE_CHECKING:
    from fearless.project import Project


class LocalRegistry:
    """`[registry] use = "local"`: `directory` is a folder of the project.

    Tags never move: a tag holds the digest it was first pushed with until it is deleted.
    Several processes may use it at the same time.
    """

    def __init__(self, project: Project, directory: str = ".fearless/registry") -> None:
        self.directory = project.root / directory

    def find(self, release: Release) -> Image | None:
        """The image of the release's app tagged with its SHA."""
        entry = self._layout(release.app).tags().get(release.sha)
        return self._image(release.app, release.sha, entry) if entry else None

    def push(self, image: Image) -> Image:
        """Store an image from an OCI layout or a Docker engine, and read it back.

        Raises Refused when the tag holds another digest, CorruptImage when what was read
        is not what was to be stored; then the tag is as before.
        """
        layout = oci.Layout.create(self.directory / image.repository)
        held = self._held(layout, image)
        if held:
            return held
        with opened(image, work=self.directory) as (source, digest):
            return self._publish(layout, image, source, digest)

    def pull(self, image: Image, into: Path) -> Path:
        """Add the image to the OCI layout `into`, tagged `<repository>:<tag>`; every byte checked.

        Raises FearlessError when the registry does not have that digest.
        """
        layout = self._layout(image.repository)
        if not (layout.exists() and layout.path(image.digest).is_file()):
            raise FearlessError(
                f"{self.directory} has no {image.reference}: build and push it with `doit image`"
            )
        with layout.lock(shared=True):
            target = oci.Layout.create(into)
            manifest = target.copy_from(layout, image.digest)
            target.tag(f"{image.repository}:{image.tag}", manifest)
        return into

    def list(self) -> Sequence[Image]:
        """Every tagged image, by repository and tag."""
        found = []
        for path in sorted(self.directory.glob("*/oci-layout")):
            repository = path.parent.name
            for tag, entry in sorted(oci.Layout(path.parent).tags().items()):
                found.append(self._image(repository, tag, entry))
        return found

    def stored(self) -> Sequence[StoredImage]:
        """Every tagged image with its size and when it was pushed."""
        found = []
        for image in self.list():
            layout = self._layout(image.repository)
            size = sum(blob.size for blob in layout.manifest(image.digest).blobs)
            pushed = layout.path(image.digest).stat().st_mtime
            found.append(StoredImage(image, size, datetime.fromtimestamp(pushed, UTC)))
        return found

    def deviations(self) -> Sequence[str]:
        """None: nobody but Fearless sets it up."""
        return ()

    def delete(self, image: Image) -> None:
        """Remove the tag if it still holds that digest, and every blob no tag needs any more."""
        layout = self._layout(image.repository)
        if not layout.exists():
            return
        with layout.lock():
            held = layout.tags().get(image.tag)
            if held and held.digest == image.digest:
                layout.untag(image.tag)
            layout.collect()

    def _publish(self, layout: oci.Layout, image: Image, source: oci.Layout, digest: str) -> Image:
        with layout.lock():
            held = layout.tags().get(image.tag)
            if held and held.digest != digest:
                raise Refused(
                    f"{image.repository}:{image.tag} is {held.digest} in {self.directory} already, "
                    f"and would become {digest}: a tag never moves; delete it first if it must"
                )
            manifest = layout.copy_from(source, digest)
            layout.tag(image.tag, manifest)
            return self._image(image.repository, image.tag, layout.tags()[image.tag])

    def _held(self, layout: oci.Layout, image: Image) -> Image | None:
        """What the tag holds if that is the image already, so that nothing need be saved.

        One that a build worker pushed here is known by its digest.
        """
        entry = layout.tags().get(image.tag)
        elsewhere = image.source.startswith("registry:")
        if not entry or (image.digest and not elsewhere):
            return None
        held = self._image(image.repository, image.tag, entry)
        if held.image_id != image.image_id or (elsewhere and held.digest != image.digest):
            return None
        layout.verify(entry.digest)
        return held

    def _image(self, repository: str, tag: str, entry: oci.Descriptor) -> Image:
        layout = self._layout(repository)
        image_id = layout.manifest(entry.digest).config.digest
        return Image(repository, tag, entry.digest, image_id, f"oci:{layout.root}")

    def _layout(self, repository: str) -> oci.Layout:
        return oci.Layout(self.directory / repository)
