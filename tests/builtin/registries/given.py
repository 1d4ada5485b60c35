"""A project as registries need it: an app's name, and the secrets there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fearless.builtin.registries.oci import OciRegistry
from fearless.errors import FearlessError
from tests.docker_registry import DockerRegistry


@dataclass
class Secrets:
    """A secret store; `asked` counts."""

    known: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    def get(self, name: str) -> str:
        self.asked += 1
        if name not in self.known:
            raise FearlessError(f"there is no secret {name!r}")
        return self.known[name]


@dataclass
class App:
    name: str


class Project:
    """What a registry asks of a project."""

    def __init__(self, app: str = "shop", **secrets: str) -> None:
        self.app = App(app)
        self.secrets = Secrets(secrets)


def oci_registry(registry: DockerRegistry, app: str = "shop", path: str = "") -> OciRegistry:
    """The provider for a registry that tests run, signed in if it must be."""
    where: Any = f"{registry.host}/{path}"
    if registry.login is None:
        return OciRegistry(Project(app), where)  # type: ignore[arg-type]
    username, password = registry.login
    project = Project(app, REGISTRY_PASSWORD=password)
    return OciRegistry(project, where, username, "REGISTRY_PASSWORD")  # type: ignore[arg-type]
