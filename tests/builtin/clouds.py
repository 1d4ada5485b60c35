"""A cloud for provider tests: the emulator's clients, any of whose calls can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.credentials import Credentials

from fearless.interfaces import Release, Stack
from fearless.testing.emulator import Emulator

Create = Callable[[Release], Stack]


class EmulatorCloud:
    """What a provider needs of a Cloud. `before[operation]` runs before each such call."""

    region = "us-east-1"

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._clients: dict[str, Any] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self.calls: list[str] = []

    def client(self, service: str) -> Any:
        if service not in self._clients:
            client = self.emulator.client(service)
            client.meta.events.register("before-call", self._called)
            self._clients[service] = client
        return self._clients[service]

    def credentials(self) -> Any:
        return Credentials("test", "test")

    def _called(self, model: Any, **_: Any) -> None:
        self.calls.append(model.name)
        self.before.get(model.name, lambda: None)()


def killed() -> None:
    """Stand in for SIGKILL: nothing in the package catches this."""
    raise KeyboardInterrupt
