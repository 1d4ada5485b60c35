"""A Docker engine on this machine: find one that answers, move images into and out of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless import docker_archive, oci
from fearless.errors import FearlessError
from fearless.local.builder import BUILDER

if TYPE_CHECKING:
    from docker import DockerClient

QUICK = 3
"""Seconds an engine may take to answer at all."""

TIMEOUT = 120
"""Seconds it may take to answer a request, once it has answered."""

INSTALL = (
    "no Docker engine answers: install one (Debian and Ubuntu: `apt-get install docker.io`) and "
    "start it, or name one with DOCKER_HOST"
)


def connect(timeout: int = TIMEOUT) -> DockerClient | None:
    """A client of the engine DOCKER_HOST names, or else of this machine's; None when none answers.

    Takes no longer than a few seconds. The caller closes the client.
    """
    import docker

    found = address()
    if found is None:
        return None
    host, version = found
    return docker.DockerClient(**_options(host), version=version, timeout=timeout)


def address() -> tuple[str, str] | None:
    """Where an engine answers, as DOCKER_HOST would say it, and the version of its API."""
    import docker
    from docker.errors import DockerException

    for host in addresses(os.environ):
        try:
            probe = docker.DockerClient(**_options(host), version="auto", timeout=QUICK)
            probe.close()
            return host, probe.api.api_version
        except (DockerException, OSError):
            continue
    return None


def _options(host: str) -> dict[str, Any]:
    from docker.utils import kwargs_from_env

    return dict(kwargs_from_env({**os.environ, "DOCKER_HOST": host}))


def require_address() -> str:
    """Where an engine answers, or FearlessError saying what to install."""
    found = address()
    if found is None:
        raise _absent()
    return found[0]


def require(timeout: int = TIMEOUT) -> DockerClient:
    """A client of an engine that answers, or FearlessError saying what to install."""
    client = connect(timeout)
    if client is None:
        raise _absent()
    return client


def _absent() -> FearlessError:
    host = os.environ.get("DOCKER_HOST")
    return FearlessError(f"{INSTALL} (DOCKER_HOST is {host})" if host else INSTALL)


def addresses(environ: Mapping[str, str]) -> Sequence[str]:
    """Where an engine may listen: DOCKER_HOST alone when set, else the sockets there are."""
    if environ.get("DOCKER_HOST"):
        return [environ["DOCKER_HOST"]]
    places = [Path("/var/run/docker.sock")]
    if environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(environ["XDG_RUNTIME_DIR"]) / "docker.sock")
    if environ.get("HOME"):
        places.append(Path(environ["HOME"]) / ".docker" / "run" / "docker.sock")
    return [f"unix://{place}" for place in places if place.exists()]


def holds_base(layout: Path, digest: str) -> bool:
    """Whether the image is complete. One of the local builder's is not: only a process runs it."""
    settings = oci.Layout(layout).config(digest).get("config") or {}
    return BUILDER not in (settings.get("Labels") or {})


def load(client: DockerClient, layout: Path, digest: str) -> str:
    """Put an image into the engine, unless it is there; the id to run it by.

    Raises FearlessError for an image of the local builder, and when the engine refuses it.
    """
    from docker.errors import ImageNotFound

    image_id = oci.Layout(layout).manifest(digest).config.digest
    if not holds_base(layout, digest):
        raise FearlessError(
            f"{digest} was made by the local builder and has no base image: run it as a plain "
            'process, or build it again with `[container] use = "docker"`'
        )
    try:
        return str(client.images.get(image_id).id)
    except ImageNotFound:
        pass
    with tempfile.TemporaryDirectory(prefix="fearless-") as work:
        archive = Path(work) / "image.tar"
        docker_archive.write(oci.Layout(layout), digest, archive)
        return _load(client, archive)


def save(client: DockerClient, image_id: str, archive: Path) -> None:
    """Write an image of the engine as a docker archive; FearlessError when it has none of it."""
    from docker.errors import APIError, DockerException

    try:
        with archive.open("wb") as file:
            for chunk in client.api.get_image(image_id):
                file.write(chunk)
    except APIError as error:
        raise FearlessError(
            f"the Docker engine cannot give image {image_id}: {error.explanation or error}; "
            "build it again with `doit image`"
        ) from error
    except (DockerException, OSError) as error:
        raise FearlessError(
            f"the Docker engine broke off while saving {image_id}: {error}"
        ) from error


def _load(client: DockerClient, archive: Path) -> str:
    """Load an archive. The SDK raises for refusals only; failures later are events to look for."""
    found = ""
    with archive.open("rb") as file:
        for event in client.api.load_image(file):  # type: ignore[no-untyped-call]
            if "error" in event:
                raise FearlessError(f"the Docker engine cannot load an image: {event['error']}")
            text = event.get("stream", "")
            if text.startswith("Loaded image"):
                found = text.partition(": ")[2].strip()
    if not found:
        raise FearlessError("the Docker engine loaded an image and did not say which")
    return str(client.images.get(found).id)
