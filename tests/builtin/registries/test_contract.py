"""Registries on the network keep the rules of their slot, as a real registry answers."""

from __future__ import annotations

import pytest

from fearless.builtin.registries.ecr import Ecr
from fearless.builtin.registries.oci import OciRegistry
from fearless.testing import contracts
from fearless.testing.emulator import Emulator
from tests.builtin.clouds import EmulatorCloud
from tests.builtin.registries.given import Project, oci_registry
from tests.docker_registry import DockerRegistry

pytest_plugins = ["tests.docker_registry"]


class TestOci(contracts.RemoteRegistryContract):
    @pytest.fixture
    def provider(self, docker_registry: DockerRegistry, app: str) -> OciRegistry:
        return oci_registry(docker_registry, app)


class TestOciWithAPassword(contracts.RemoteRegistryContract):
    @pytest.fixture
    def provider(self, private_registry: DockerRegistry, app: str) -> OciRegistry:
        return oci_registry(private_registry, app, "team/a")


class TestEcr(contracts.RemoteRegistryContract):
    """ECR's own API, and images that travel to the same emulator."""

    @pytest.fixture
    def provider(self, emulator: Emulator, app: str) -> Ecr:
        cloud = EmulatorCloud(emulator)
        return Ecr(Project(app), cloud, endpoint=emulator.url)  # type: ignore[arg-type]
