"""The bytes of an image, wherever its builder left them: what a registry pushes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fearless import docker_archive
from fearless.errors import FearlessError
from fearless.interfaces import Image
from fearless.oci import Layout


@contextmanager
def opened(image: Image, work: Path | None = None) -> Iterator[tuple[Layout, str]]:
    """The image in an OCI layout, and the digest of its manifest there; for reading only.

    An image of a Docker engine is saved into a temporary folder first (in `work`, if given),
    which is gone afterwards; its digest is known only then. Raises FearlessError when the engine
    does not have it, and for a `source` that is neither `oci:` nor `docker:`.
    """
    kind, _, source = image.source.partition(":")
    if kind == "oci":
        yield Layout(Path(source)), image.digest
    elif kind == "docker":
        with tempfile.TemporaryDirectory(dir=work, prefix=".push-") as folder:
            layout = Layout.create(Path(folder) / "saved")
            yield layout, _saved(source, Path(folder) / "image.tar", layout)
    else:
        raise FearlessError(
            f"cannot push {image.repository}:{image.tag} from {image.source or 'nowhere'!r}: "
            "a source is `oci:<layout directory>` or `docker:<image id>`"
        )


def _saved(image_id: str, archive: Path, layout: Layout) -> str:
    from fearless.local import engine

    client = engine.require()
    try:
        engine.save(client, image_id, archive)
    finally:
        client.close()
    digest = docker_archive.read(archive, layout).digest
    archive.unlink()
    return digest
