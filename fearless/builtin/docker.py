"""Builds the container image with a Docker engine, from exactly the files of the SHA."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless import dockerfile
from fearless.context import Context
from fearless.dockerfile import Instruction
from fearless.errors import FearlessError
from fearless.interfaces import BuildContext, Image, Release, Report
from fearless.local import engine
from fearless.local.builder import labels

if TYPE_CHECKING:
    from docker import DockerClient

    from fearless.project import Project

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)
_CACHED = "---> Using cache"


class BuildFailed(FearlessError):
    """The Dockerfile did not build; the message names the line, what it said, and the log."""


class EngineLost(BuildFailed):
    """The engine broke off; the same build may well succeed another time."""


class DockerBuilder:
    """`[container] use = "docker"`.

    `dockerfile` overrides the file's name, `target` is a stage of it, `args` are values for
    ARG, `timeout` is in seconds for the whole build, `cache_from` are images whose layers may
    be reused. The log is `.fearless/build/<sha>/docker.log`.
    """

    def __init__(
        self,
        project: Project,
        dockerfile: str | None = None,
        target: str | None = None,
        args: dict[str, str] | None = None,
        timeout: int = 1800,
        cache_from: list[str] | None = None,
    ) -> None:
        self.project = project
        self.dockerfile = dockerfile
        self.target = target
        self.args = args or {}
        self.timeout = timeout
        self.cache_from = cache_from or []

    def build(self, release: Release, context: BuildContext, report: Report) -> Image:
        """Build and tag `<app>:<sha>`; the image has an id, and no digest before it is pushed.

        Raises BuildFailed naming the line of the Dockerfile, FearlessError without an engine.
        """
        name = self.dockerfile or context.dockerfile
        files = Context(context.archive, name)
        instructions = dockerfile.parse(files.text(name), name)
        client = engine.require(self.timeout)
        log = self.project.directory / "build" / release.sha / "docker.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=log.parent, prefix=".docker-") as work:
                archive = Path(work) / "context.tar"
                files.write(archive)
                options = self.options(client, release, name)
                events = _Events(name, instructions, log, report)
                events.follow(self._events(client, archive, options))
        finally:
            client.close()
        return Image(release.app, release.sha, "", events.image_id, f"docker:{events.image_id}")

    def options(self, client: DockerClient, release: Release, name: str) -> dict[str, Any]:
        """What the engine is asked to do. Images it does not have are no use as a cache."""
        return {
            "dockerfile": name,
            "tag": f"{release.app}:{release.sha}",
            "labels": labels(release),
            "buildargs": self.args,
            "target": self.target,
            "cache_from": [image for image in self.cache_from if has_image(client, image)],
            "rm": True,
            "forcerm": True,
        }

    def _events(
        self, client: DockerClient, archive: Path, options: Mapping[str, Any]
    ) -> Iterable[dict[str, Any]]:
        from docker.errors import APIError, DockerException
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + self.timeout
        try:
            with archive.open("rb") as file:
                for event in client.api.build(
                    fileobj=file, custom_context=True, decode=True, timeout=self.timeout, **options
                ):
                    yield event
                    if time.monotonic() > deadline:
                        raise TimeoutError
        except APIError as error:
            raise BuildFailed(f"the Docker engine: {error.explanation or error}") from error
        except (DockerException, HTTPError, OSError) as error:
            if time.monotonic() < deadline:
                raise EngineLost(f"the Docker engine broke off: {error}") from error
            raise BuildFailed(
                f"the build took longer than {self.timeout} s: raise `[container] timeout`"
            ) from None


def has_image(client: DockerClient, name: str) -> bool:
    """Whether the engine holds an image of that name."""
    from docker.errors import ImageNotFound

    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


class _Events:
    """Reads a build's event stream: to the log, to the report, and for the image or the error."""

    def __init__(
        self, name: str, instructions: tuple[Instruction, ...], log: Path, report: Report
    ) -> None:
        self.name = name
        self.instructions = instructions
        self.log = log
        self.report = report
        self.image_id = ""
        self.step = 0
        self.steps = 0
        self.cached = 0
        self.said: list[str] = []

    def follow(self, events: Iterable[dict[str, Any]]) -> None:
        """Read to the end; raises BuildFailed when an event says so, or when there is no image."""
        with self.log.open("w") as file:
            for event in events:
                text = event.get("stream") or event.get("status") or event.get("error") or ""
                file.write(text if text.endswith("\n") else f"{text}\n")
                file.flush()
                if "error" in event:
                    raise BuildFailed(self._failure(event))
                self._read(text.strip())
                self.image_id = event.get("aux", {}).get("ID", self.image_id)
        if not self.image_id:
            raise BuildFailed(f"{self.name}: the Docker engine built no image (log: {self.log})")
        self.report.line(f"docker: {self.steps} steps, {self.cached} from the cache")

    def _read(self, text: str) -> None:
        match = _STEP.match(text)
        if match:
            self.step, self.steps = int(match[1]), int(match[2])
            self.said = []
        elif text == _CACHED:
            self.cached += 1
        elif text and not text.startswith(("--->", "Removing intermediate")):
            self.said = [*self.said[-20:], text]
        if text:
            self.report.progress("docker build", self.step, self.steps or None, text)

    def _failure(self, event: Mapping[str, Any]) -> str:
        """One line: where, what, the last thing it said, and where the rest is."""
        detail = event.get("errorDetail") or {}
        what = str(event["error"]).strip().replace("\n", " ")
        where = self.name
        if 0 < self.step <= len(self.instructions):
            instruction = self.instructions[self.step - 1]
            where = f"{self.name}:{instruction.line}: `{instruction}`"
            if detail.get("code"):
                what = f"exit code {detail['code']}"
        said = f": {self.said[-1].splitlines()[-1]}" if self.said else ""
        return f"{where} failed with {what}{said} (log: {self.log})"
