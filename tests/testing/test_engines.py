"""Providers that need something started first: the embedded cloud, a Docker engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fearless.builtin.docker import DockerBuilder
from fearless.interfaces import Image, Stack
from fearless.local.cloud import LocalCloud
from fearless.local.deployer import LocalDeployer
from fearless.testing import contracts
from fearless.testing.fakes import SilentReport
from tests.images import FakeProject
from tests.local.cloud_kit import Kit, running

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.docker_engine"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with running(tmp_path_factory.mktemp("cloud"), SilentReport()) as kit:
        yield kit


@pytest.fixture(scope="module")
def dev(kit: Kit) -> Stack:
    outputs = kit.create("dev", kit.bake("v1"), kind="dev", count=1)
    kit.wait_healthy(outputs, 1)
    now = datetime.now(UTC)
    return Stack("dev", "dev", "CREATE_COMPLETE", "dev", "r", "s", now, outputs)


class TestLocalCloud(contracts.CloudContract):
    @pytest.fixture
    def provider(self, kit: Kit) -> LocalCloud:
        return kit.cloud


class TestLocalDeployer(contracts.DeployerContract):
    @pytest.fixture
    def provider(self, kit: Kit) -> LocalDeployer:
        return kit.deployer(60)

    @pytest.fixture
    def stack(self, dev: Stack) -> Stack:
        return dev

    @pytest.fixture
    def images(self, kit: Kit) -> Sequence[Image]:
        return [kit.push("v2"), kit.push("v3")]


@pytest.mark.docker
class TestDockerBuilder(contracts.ContainerBuilderContract):
    @pytest.fixture
    def provider(
        self, docker_engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: str
    ) -> Iterator[DockerBuilder]:
        monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
        yield DockerBuilder(FakeProject(tmp_path / "project"))  # type: ignore[arg-type]
        for image in docker_engine.client.images.list(app):
            docker_engine.client.images.remove(image.id, force=True)
