"""What a Dockerfile's instructions do to an image's files, as the local builder does it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fearless.dockerfile import DockerfileError, Instruction

WHAT_TO_DO = 'install or start a Docker engine and set `[container] use = "docker"`'


@dataclass(frozen=True)
class Copy:
    """COPY or ADD: `destination` is absolute and ends with `/` when it must be a directory."""

    sources: tuple[str, ...]
    destination: str
    mode: int | None = None


@dataclass(frozen=True)
class Pip:
    """`pip install` with those arguments, in a directory, with the image's variables."""

    arguments: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]


@dataclass(frozen=True)
class MakeDirectories:
    """`mkdir -p`."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class SetMode:
    """`chmod`: an octal mode, or None to make the files executable."""

    mode: int | None
    paths: tuple[str, ...]


Step = Copy | Pip | MakeDirectories | SetMode


@dataclass
class State:
    """What the instructions read so far have set; `name` is the Dockerfile's."""

    name: str
    env: dict[str, str]
    arguments: dict[str, str]
    given: Mapping[str, str]
    config: dict[str, Any] = field(default_factory=dict)
    workdir: str = "/"

    @property
    def variables(self) -> dict[str, str]:
        """What `$NAME` is replaced from: ENV wins over ARG."""
        return self.arguments | self.env

    def path(self, text: str) -> str:
        """An absolute container path; a final slash is kept."""
        joined = posixpath.join(self.workdir, text)
        slash = joined.endswith(("/", "/.")) and joined != "/"
        return posixpath.normpath(joined).replace("//", "/") + ("/" if slash else "")


def cannot(state: State, instruction: Instruction, why: str) -> DockerfileError:
    """The one error for what only a Docker engine can build."""
    return DockerfileError(
        f"{state.name}:{instruction.line}: the local builder cannot do `{instruction}`: {why}; "
        f"{WHAT_TO_DO}"
    )
