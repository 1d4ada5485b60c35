"""Registries on the network keep the rules of their slot, as a real registry answers."""

from __future__ import annotations

import pytest

from fearless.builtin.registries.oci import OciRegistry
from fearless.testing import contracts
from tests.builtin.registries.given import oci_registry
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
