"""Chooses the builder: the Docker engine where there is one that can do it, else the local one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fearless import dockerfile
from fearless.builtin.builds.earlier import has_image, pull
from fearless.builtin.docker import DockerBuilder
from fearless.context import Context
from fearless.interfaces import BuildContext, Image, Release, Report
from fearless.local import engine
from fearless.local.builder import LocalBuilder

if TYPE_CHECKING:
    from fearless.project import Project


class AutoBuilder:
    """`[container] use = "auto"`: settings as of the other two, `dockerfile` and `args`."""

    def __init__(
        self,
        project: Project,
        dockerfile: str | None = None,
        args: dict[str, str] | None = None,
    ) -> None:
        self.dockerfile = dockerfile
        self.args = args
        self.docker = DockerBuilder(project, dockerfile, args=args)
        self.local = LocalBuilder(project, dockerfile, args)

    def build(self, release: Release, context: BuildContext, report: Report) -> Image:
        """Build with the one or the other; one line of the report says which, and why."""
        reason = self._obstacle(context, report)
        if reason:
            report.line(f"container: without Docker, by the local builder ({reason})")
            return self.local.build(release, context, report)
        report.line("container: by the Docker engine")
        return self.docker.build(release, context, report)

    def _obstacle(self, context: BuildContext, report: Report) -> str:
        """Why the Docker engine cannot build it; empty when it can."""
        client = engine.connect()
        if client is None:
            return "no Docker engine answers"
        try:
            name = self.dockerfile or context.dockerfile
            text = Context(context.archive, name).text(name)
            for image in dockerfile.bases(dockerfile.parse(text, name), self.args):
                reason = "" if has_image(client, image) else pull(client, image, report)
                if reason:
                    return f"the Docker engine has no {image} and cannot pull it: {reason}"
        finally:
            client.close()
        return ""
