"""The registry and the engines that tests run: they are real, and reach each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.base_image import NAME
from tests.docker_registry import PASSWORD, USERNAME, DockerRegistry, Registries

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.docker_engine", "tests.docker_registry"]


@pytest.mark.slow
@pytest.mark.docker
def test_what_one_engine_pushes_another_pulls(
    docker_engine: DockerEngine, engines: Callable[[], DockerEngine], registries: Registries
) -> None:
    registry = registries((USERNAME, PASSWORD))
    login = {"username": USERNAME, "password": PASSWORD}
    name = f"{registry.host}/base"
    docker_engine.forward(registry.port)
    docker_engine.client.images.get(NAME).tag(name, "one")
    events = list(
        docker_engine.client.api.push(name, "one", stream=True, decode=True, auth_config=login)
    )
    assert not [event for event in events if "error" in event]
    (digest,) = [event["aux"]["Digest"] for event in events if "aux" in event]
    assert registry.tags("base") == ["one"]
    docker_engine.client.images.remove(f"{name}:one")

    second = engines()
    second.forward(registry.port)
    pulled = second.client.images.pull(f"{name}@{digest}", auth_config=login)
    assert pulled.id == docker_engine.client.images.get(NAME).id


def test_it_can_be_killed_and_is_the_same_again(registries: Registries) -> None:
    registry: DockerRegistry = registries()
    for end in (registry.kill, registry.stop):
        end()
        registry.start()
    assert registry.tags("nothing") == []
