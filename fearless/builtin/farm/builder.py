"""`[container] use = "queue"`: the image is built by a worker of the farm, and its log is shown."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from fearless.builtin.aws import explained
from fearless.builtin.farm.farm import Farm
from fearless.builtin.farm.message import Options
from fearless.builtin.farm.options import options_of
from fearless.builtin.farm.status import Status
from fearless.errors import ConfigError, FearlessError
from fearless.git import whoami
from fearless.interfaces import BuildContext, Cloud, Image, Release, Report

if TYPE_CHECKING:
    from fearless.project import Project


class QueueBuilder:
    """Sends the release to the build farm, waits, and shows the log.

    `queue` names the farm, `<app>-builds` unless given; several apps may share one. `repository`
    is what its workers call this repository, unless it is the app's name. `patience` is how many
    seconds to wait without a sign of life from any worker. `dockerfile`, `target`, `args`,
    `timeout`, `network` and `buildkit` are as of the `docker` builder; workers read them from
    release.toml at the SHA.
    """

    def __init__(
        self,
        project: Project,
        cloud: Cloud,
        queue: str = "",
        repository: str = "",
        dockerfile: str | None = None,
        target: str | None = None,
        args: dict[str, str] | None = None,
        timeout: int = 1800,
        network: str | None = None,
        buildkit: bool = False,
        patience: float = 60,
    ) -> None:
        self.project = project
        self.cloud = cloud
        self.name = queue or f"{project.app.name}-builds"
        self.repository = repository or project.app.name
        self.patience = patience
        if not re.fullmatch(r"[A-Za-z0-9_-]{3,60}", self.name):
            raise ConfigError(
                f"{project.file.where('container', 'queue')}: `queue` = {self.name!r}: 3 to 60 "
                "letters, digits, - and _; `.fifo` is added to it"
            )

    @cached_property
    def farm(self) -> Farm:
        """The farm's queue and rows."""
        return Farm(self.cloud.client("sqs"), self.cloud.client("dynamodb"), self.name)

    @property
    def options(self) -> Options:
        """What is to be built of a commit of this project."""
        return options_of(self.project.file, self.project.git.prefix())

    def build(self, release: Release, context: BuildContext, report: Report) -> Image:
        """Have it built and pushed; the image is in the registry already.

        Raises BuildFailed's message as the worker has it, and NoWorker when nobody is there.
        """
        with explained(f"asking the build farm {self.name}"):
            sent = self.farm.send(
                self.options,
                self.repository,
                release.sha,
                release.branch or release.tag or release.sha,
                sender(),
                branch=release.branch,
                again=True,
            )
            report.line(f"build {sent.status.id}: {'sent to' if sent.new else 'is in'} {self.name}")
            status = self.farm.watch(
                sent.status.id, lambda lines: _show(lines, report), patience=self.patience
            )
        return finished(status).image


def finished(status: Status) -> Status:
    """A build that is over and succeeded. Raises FearlessError with what its worker said."""
    if status.state == "failed":
        raise FearlessError(
            f"build {status.id} failed: {status.error} (log: `fearless build show {status.id}`)"
        )
    return status


def sender() -> str:
    """Who sends from here: `ann@laptop`."""
    return f"{whoami()}@{socket.gethostname()}"


def _show(lines: Sequence[str], report: Report) -> None:
    for line in lines:
        report.line(line)
