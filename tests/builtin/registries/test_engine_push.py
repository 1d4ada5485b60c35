"""A Docker engine pushes by itself, and whatever goes wrong there is found among its events."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fearless import oci
from fearless.builtin.registries.engine_push import digest, failure
from fearless.builtin.registries.oci import OciRegistry
from fearless.errors import FearlessError, NotAuthorised, Refused
from fearless.interfaces import Image, Release
from fearless.local.engine import load
from fearless.oci_reference import parse
from fearless.testing.base_image import NAME
from fearless.testing.contracts.given import a_release, an_image
from tests.builtin.registries.given import Project, oci_registry
from tests.docker_registry import PASSWORD, USERNAME, Registries

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.docker_engine", "tests.docker_registry"]
REFERENCE = parse("registry.test/shop:x")


@pytest.mark.parametrize(
    ("said", "kind", "part"),
    [
        ("unauthorized: authentication required", NotAuthorised, "check `[registry] x`"),
        ("denied: requested access to the resource is denied", NotAuthorised, "denied"),
        ("tag invalid: the tag 'x' is immutable", Refused, "immutable"),
        ("http: server gave HTTP response to HTTPS client", FearlessError, "insecure-registries"),
        ("received unexpected HTTP status:\n500 Internal Server Error", FearlessError, "500"),
    ],
)
def test_what_an_engine_says_is_one_line(said: str, kind: type, part: str) -> None:
    error = failure(said, REFERENCE, "`[registry] x`")
    assert type(error) is kind
    assert part in str(error) and "registry.test" in str(error) and "\n" not in str(error)
    with pytest.raises(kind):
        digest([{"status": "Pushing"}, {"error": said}], REFERENCE, "`[registry] x`")


def test_the_digest_is_in_the_last_event_or_it_is_an_error() -> None:
    events = [{"status": "Pushing"}, {"aux": {"Tag": "x", "Digest": "sha256:1"}}, {"aux": None}]
    assert digest(events, REFERENCE, "") == "sha256:1"
    with pytest.raises(FearlessError, match="did not say"):
        digest([{"status": "Pushing"}], REFERENCE, "")


@pytest.fixture
def engine(docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> DockerEngine:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    return docker_engine


def built(engine: DockerEngine, release: Release, directory: Path) -> Image:
    """A small image in the engine, as a builder leaves it."""
    made = an_image(directory / "built", release, release.sha)
    image_id = load(engine.client, directory / "built", made.digest)
    return Image(release.app, release.sha, "", image_id, f"docker:{image_id}")


@pytest.mark.docker
def test_what_an_engine_pushed_another_engine_pulls_by_digest(
    engine: DockerEngine,
    engines: Callable[[], DockerEngine],
    registries: Registries,
    tmp_path: Path,
) -> None:
    registry, release = registries((USERNAME, PASSWORD)), a_release("shop")
    engine.forward(registry.port)
    provider, image = oci_registry(registry, path="team"), built(engine, release, tmp_path)
    pushed = provider.push(image)
    assert pushed.image_id == image.image_id
    assert provider.push(image) == pushed == provider.find(release)
    assert provider.push(Image("shop", release.sha, pushed.digest, "", image.source)) == pushed
    oci.Layout(provider.pull(pushed, tmp_path / "pulled")).verify(pushed.digest)

    second, login = engines(), provider.login()
    assert login is not None
    second.forward(registry.port)
    who = {"username": login.username, "password": login.password}
    name = parse(provider.name("shop", release.sha)).name
    pulled = second.client.images.pull(f"{name}@{pushed.digest}", auth_config=who)
    assert pulled.id == image.image_id
    assert pulled.attrs["RepoDigests"] == [f"{name}@{pushed.digest}"]


@pytest.mark.docker
def test_a_tag_of_another_image_does_not_move(
    engine: DockerEngine, registries: Registries, tmp_path: Path
) -> None:
    registry, release = registries(), a_release("shop")
    engine.forward(registry.port)
    provider = oci_registry(registry)
    first = provider.push(an_image(tmp_path / "one", release))
    image = built(engine, release, tmp_path)
    with pytest.raises(Refused) as caught:
        provider.push(image)
    assert first.digest in str(caught.value)
    assert image.image_id in str(caught.value)
    assert provider.find(release) == first


@pytest.mark.docker
def test_a_wrong_password_and_a_lost_image_are_said(
    engine: DockerEngine, registries: Registries, tmp_path: Path
) -> None:
    registry, release = registries((USERNAME, PASSWORD)), a_release("shop")
    engine.forward(registry.port)
    project = Project(WRONG="wrong wrong")
    provider = OciRegistry(project, registry.host, USERNAME, "WRONG")  # type: ignore[arg-type]
    image = built(engine, release, tmp_path)
    with pytest.raises(NotAuthorised) as caught:  # past our own look, which fails first
        provider._from_engine(image, image.image_id, None)
    assert "wrong wrong" not in str(caught.value) and "('WRONG')" in str(caught.value)
    image = Image("shop", release.sha, "", "sha256:" + "0" * 64, "docker:sha256:" + "0" * 64)
    with pytest.raises(FearlessError, match="the Docker engine has no image sha256:000"):
        oci_registry(registry).push(image)
    assert registry.tags("shop") == []


@pytest.mark.docker
def test_a_registry_that_the_engine_does_not_reach(
    engine: DockerEngine, registries: Registries, tmp_path: Path
) -> None:
    registry, release = registries(), a_release("shop")  # the engine's network has no way to it
    with pytest.raises(FearlessError, match="cannot push") as caught:
        oci_registry(registry).push(built(engine, release, tmp_path))
    assert "connection refused" in str(caught.value) and "\n" not in str(caught.value)
    assert registry.tags("shop") == []


@pytest.mark.docker
def test_a_registry_killed_under_an_engine_has_all_of_it_or_nothing(
    engine: DockerEngine, registries: Registries
) -> None:
    registry, release = registries(), a_release("shop")
    engine.forward(registry.port)
    base = str(engine.client.images.get(NAME).id)  # large enough to be in the middle of
    provider, image = oci_registry(registry), Image("shop", release.sha, "", base, f"docker:{base}")
    failed: list[FearlessError] = []

    def push() -> None:
        try:
            provider.push(image)
        except FearlessError as error:
            failed.append(error)

    thread = threading.Thread(target=push)
    thread.start()
    registry.when_uploading("shop")
    registry.kill()
    assert registry.tags("shop") == []
    registry.start()
    thread.join(100)
    assert not thread.is_alive()
    assert all("\n" not in str(error) for error in failed)
    pushed = provider.push(image)
    assert pushed.image_id == image.image_id
    assert provider.find(release) == pushed
