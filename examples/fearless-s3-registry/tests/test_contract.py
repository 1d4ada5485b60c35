"""The rules that every registry keeps: Fearless's own suite."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import World
from fearless.testing.contracts import RegistryContract
from fearless.testing.fakes import FakeCloud

from fearless_s3_registry.registry import S3Registry


class TestS3Registry(RegistryContract):
    @pytest.fixture
    def provider(self, world: World) -> S3Registry:
        return world.registry()


class TestInAFolderOfABucketItMakes(RegistryContract):
    @pytest.fixture
    def provider(self, clients: tuple[Any, Any], app: str) -> S3Registry:
        cloud = FakeCloud({"s3": clients[0]})
        return S3Registry(cloud, f"made-{app}", prefix="/team/images", create=True)
