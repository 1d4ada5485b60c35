"""Every extension point of Fearless. Read this first.

Slots: exactly one provider each, chosen by name in release.toml. A hook returns
`{name: class}`; installing a plugin changes nothing until the config names it.
Everybody: all implementations are asked and their answers joined.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

from fearless.interfaces import (
    AmiBaker,
    Cloud,
    ContainerBuilder,
    CopyEngine,
    DataStore,
    Deployer,
    DnsProvider,
    Event,
    Gate,
    Provisioner,
    Registry,
    Release,
    SecretStore,
    Transform,
)

if TYPE_CHECKING:
    from fearless.project import Project

hookspec = pluggy.HookspecMarker("fearless")
hookimpl = pluggy.HookimplMarker("fearless")


# ------------------------------------------------------------------ slots: one, by name


@hookspec
def clouds() -> dict[str, type[Cloud]]:  # type: ignore[empty-body]
    """The AWS endpoint every other provider talks to: `[cloud] use`."""


@hookspec
def container_builders() -> dict[str, type[ContainerBuilder]]:  # type: ignore[empty-body]
    """Builds the release's container image from its SHA: `[container] use`."""


@hookspec
def registries() -> dict[str, type[Registry]]:  # type: ignore[empty-body]
    """Keeps images, found again by SHA and deployed by digest: `[registry] use`."""


@hookspec
def ami_bakers() -> dict[str, type[AmiBaker]]:  # type: ignore[empty-body]
    """Bakes the machine image the stack's instances boot from: `[ami] use`."""


@hookspec
def provisioners() -> dict[str, type[Provisioner]]:  # type: ignore[empty-body]
    """Creates the stack from the rendered template and deletes it: `[stack] use`."""


@hookspec
def data_stores() -> dict[str, type[DataStore]]:  # type: ignore[empty-body]
    """Copies, follows, verifies and fences the data: `[data] use`."""


@hookspec
def copy_engines() -> dict[str, type[CopyEngine]]:  # type: ignore[empty-body]
    """Performs the units of work that data runs consist of, here or elsewhere: `[engine] use`."""


@hookspec
def dns_providers() -> dict[str, type[DnsProvider]]:  # type: ignore[empty-body]
    """Points the app's name at the stack that goes live: `[dns] use`."""


@hookspec
def deployers() -> dict[str, type[Deployer]]:  # type: ignore[empty-body]
    """Swaps the container of a running dev stack: `[deploy] use`."""


@hookspec
def secret_stores() -> dict[str, type[SecretStore]]:  # type: ignore[empty-body]
    """Looks up the secrets a provider needs, such as registry passwords: `[secrets] use`."""


# ---------------------------------------------------------- everybody: all are asked


@hookspec
def transforms(release: Release) -> list[Transform]:  # type: ignore[empty-body]
    """The data migrations of the app, oldest first; core runs those the live data lacks."""


@hookspec
def gates(release: Release) -> list[Gate]:  # type: ignore[empty-body]
    """Checks that must pass before DNS moves to `release`; each becomes a task `gate:<name>`."""


@hookspec
def tasks(project: Project, release: Release) -> Iterable[dict[str, Any]]:  # type: ignore[empty-body]
    """More doit tasks: dicts with `basename` and `actions`; core checks the names."""


@hookspec
def template_vars(release: Release) -> dict[str, Any]:  # type: ignore[empty-body]
    """Variables for templates/*.j2; a name two plugins give is an error."""


@hookspec
def notify(event: Event) -> None:
    """Hear what happens. An error raised here is reported and never stops a release."""


@hookspec(firstresult=True)
def stack_name(release: Release) -> str | None:
    """A stack name of the team's own choice; core derives one from the SHA otherwise."""
