"""S3 on loopback, a bucket for each test, and calls to S3 that a test may look at or stop."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import FakeCloud

from fearless_s3_registry.registry import S3Registry

Before = Callable[[int, str], None]


class Killed(BaseException):
    """Stands in for SIGKILL: nothing in the package catches it."""


class World:
    """One bucket, and two machines with a registry on it: one of them is watched."""

    def __init__(self, emulator: Emulator, s3: Any, watched: Any) -> None:
        self.emulator, self.s3, self._watched = emulator, s3, watched
        self.bucket = f"images-{secrets.token_hex(6)}"
        s3.create_bucket(Bucket=self.bucket)

    def another(self) -> World:
        """The same with another bucket."""
        return World(self.emulator, self.s3, self._watched)

    def registry(self) -> S3Registry:
        """The registry of a machine that nothing happens to."""
        return S3Registry(FakeCloud({"s3": self.s3}), self.bucket)

    def watched(self, before: Before) -> S3Registry:
        """That of the other. `before(number, operation)` runs before each call to S3."""
        seen: list[str] = []

        def called(model: Any, **_: Any) -> None:
            seen.append(model.name)
            before(len(seen), model.name)

        self._watched.meta.events.unregister("before-call.s3", unique_id="watch")
        self._watched.meta.events.register("before-call.s3", called, unique_id="watch")
        return S3Registry(FakeCloud({"s3": self._watched}), self.bucket)

    def listed(self) -> dict[str, Any]:
        """When each object was written, by its key."""
        answer = self.s3.list_objects_v2(Bucket=self.bucket)
        return {entry["Key"]: entry["LastModified"] for entry in answer.get("Contents", ())}

    def blobs(self) -> dict[str, Any]:
        """The same, blobs only."""
        return {key: at for key, at in self.listed().items() if "/blobs/" in key}


def killed_at(number: int) -> Before:
    """The process is dead from that call on."""

    def before(call: int, operation: str) -> None:
        if call >= number:
            raise Killed

    return before


@pytest.fixture(scope="session")
def clients(fearless_emulator: Emulator) -> tuple[Any, Any]:
    return fearless_emulator.client("s3"), fearless_emulator.client("s3")


@pytest.fixture
def world(fearless_emulator: Emulator, clients: tuple[Any, Any]) -> World:
    return World(fearless_emulator, *clients)
