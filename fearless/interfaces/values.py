"""What steps and plugins exchange about a release: images, machines, stacks, gates, events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from fearless.interfaces.data import TableSpec

Kind = Literal["release", "dev"]


@dataclass(frozen=True)
class Release:
    """A release is a SHA; every name derives from it. A dev stack is a branch at a SHA.

    `app` is `[app] name`; `sha` the full 40 hex digits; `name` what people call it
    (`20261123-4f2a9c1`: the commit's date and short SHA); `tag` the git tag;
    `stack_name` the CloudFormation stack. `branch` is set for `kind="dev"` only.
    """

    app: str
    sha: str
    name: str
    tag: str
    stack_name: str
    kind: Kind = "release"
    branch: str | None = None

    @property
    def short(self) -> str:
        """The first 7 digits of the SHA, as git prints them."""
        return self.sha[:7]

    def tags(self) -> dict[str, str]:
        """The tags everything made for this release carries (`fearless:app` and so on)."""
        tags = {
            "fearless:app": self.app,
            "fearless:kind": self.kind,
            "fearless:release": self.name,
            "fearless:sha": self.sha,
        }
        if self.branch:
            tags["fearless:branch"] = self.branch
        return tags


@dataclass(frozen=True)
class BuildContext:
    """What a container is built from: the files of one SHA, nothing untracked, no `.git`.

    `archive` is a tar file whose members are normalised (uid and gid 0, mode 644 or 755,
    mtime 0, sorted), so that equal files are equal bytes; `dockerfile` is a member's name.
    """

    archive: Path
    dockerfile: str = "Dockerfile"


@dataclass(frozen=True)
class Image:
    """A container image. `digest` names its manifest, `image_id` its config; both `sha256:...`.

    `source` says where the bytes are: `oci:/path/of/a/layout`, `docker:<image id>`, or
    `registry:<reference>`. Empty when only the name is known.
    """

    repository: str
    tag: str
    digest: str
    image_id: str
    source: str = ""

    @property
    def reference(self) -> str:
        """`repository@sha256:...`: the only form anything is deployed by."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class StoredImage:
    """A tagged image as its registry keeps it.

    `size` is in bytes, all its layers included; `created` is when it was pushed, or built. Both
    are None where the registry cannot tell. `note` is what else is worth knowing of it.
    """

    image: Image
    size: int | None = None
    created: datetime | None = None
    note: str = ""


@dataclass(frozen=True)
class Login:
    """How a Docker engine signs in at a registry: for its API, never for a command line."""

    server: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class MachineImage:
    """A bootable machine with every container image inside. `inputs` hashes what it was made of."""

    id: str
    sha: str
    images: tuple[Image, ...]
    inputs: str


@dataclass(frozen=True)
class Stack:
    """A stack as the cloud reports it. Deleted and followed by `id`, never by name alone.

    Outputs every template gives: `LoadBalancerDNS`, `LoadBalancerZone`, `ListenerPort`,
    `TargetGroup`, `AutoScalingGroup`, `AppRole` (a role name), `StateTable`, and
    `Table<LogicalId>` with the physical name of each declared table.
    """

    name: str
    id: str
    status: str
    kind: str
    release: str
    sha: str
    created: datetime
    outputs: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """True when it was created and nothing is in progress."""
        return self.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")

    def table(self, spec: TableSpec) -> str:
        """The physical name of a declared table in this stack."""
        return self.outputs[f"Table{spec.logical_id}"]


@dataclass(frozen=True)
class Candidate:
    """What a gate looks at: a stack that is up, its own URL, and how to ask about its data."""

    release: Release
    stack: Stack
    url: str
    get: Callable[[str], tuple[int, bytes]]
    post: Callable[[str, Mapping[str, Any]], tuple[int, bytes]]


@dataclass(frozen=True)
class Gate:
    """A check that must pass before DNS moves.

    `check(candidate)` returns one line of evidence, or raises `GateFailed` with the reason.
    """

    name: str
    check: Callable[[Candidate], str]


@dataclass(frozen=True)
class Event:
    """Something a team may want to hear of: `kind` is `step_done`, `step_failed` or `live`."""

    kind: str
    release: Release
    message: str
    at: datetime


class Report(Protocol):
    """Where a long step says how far it is. Rate limits and terminals are its own business."""

    def line(self, text: str) -> None:
        """One line worth keeping in a log."""

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """`done` of `total` (None = not known); cheap enough to call for every page."""
