"""Builds the container image with a Docker engine, from exactly the files of the SHA."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fearless import dockerfile, names
from fearless.builtin.builds.buildkit import BuildKit
from fearless.builtin.builds.classic import Classic
from fearless.builtin.builds.earlier import (
    Earlier,
    Finder,
    History,
    choose,
    has_image,
    origin,
    pull,
)
from fearless.builtin.builds.order import Order
from fearless.builtin.builds.progress import BuildFailed, EngineLost, Progress, one_line
from fearless.context import Context
from fearless.dockerfile import Instruction
from fearless.errors import ConfigError
from fearless.interfaces import BuildContext, Image, Release, RemoteRegistry, Report
from fearless.labels import labels, source_url
from fearless.local import engine

if TYPE_CHECKING:
    from docker import DockerClient

    from fearless.project import Project


class DockerBuilder:
    """`[container] use = "docker"`.

    `dockerfile` overrides the file's name, `target` is a stage of it, `args` are values for
    ARG, `timeout` is in seconds for the whole build. `cache_from` are images whose steps may be
    reused besides those of the branch, the default branch and the live release; with `nocache`
    none are. `network` is what RUN reaches, as `docker build --network` takes it. `buildkit`
    builds by the `docker` command, and then `secrets` are names in the secret store, by the id
    that `RUN --mount=type=secret` gives them. The log is `.fearless/build/<sha>/docker.log`.

    Of its project it needs `directory`; `git`, `cloud`, `ledger` and `registry` are asked for
    earlier images where there are any, and `secrets` only if some are wanted.
    """

    def __init__(
        self,
        project: Project,
        dockerfile: str | None = None,
        target: str | None = None,
        args: dict[str, str] | None = None,
        timeout: int = 1800,
        cache_from: list[str] | None = None,
        nocache: bool = False,
        network: str | None = None,
        buildkit: bool = False,
        secrets: dict[str, str] | None = None,
    ) -> None:
        if secrets and not buildkit:
            raise ConfigError(
                "`[container] secrets` needs `buildkit = true`: without it a build has no way to "
                "read a secret and not to leave it in the image"
            )
        self.project = project
        self.dockerfile = dockerfile
        self.target = target
        self.args = args or {}
        self.timeout = timeout
        self.cache_from = cache_from or []
        self.nocache = nocache
        self.network = network
        self.buildkit = buildkit
        self.secrets = secrets or {}
        self.history = History(project)

    def build(self, release: Release, context: BuildContext, report: Report) -> Image:
        """Build, and tag `<app>:<sha>` and `<app>:branch-<slug>`.

        The image has an id, and no digest before it is pushed. Raises BuildFailed naming the
        line of the Dockerfile, FearlessError without an engine.
        """
        from docker.errors import APIError, DockerException
        from requests import RequestException

        name = self.dockerfile or context.dockerfile
        files = Context(context.archive, name)
        instructions = dockerfile.parse(files.text(name), name)
        log = self.project.directory / "build" / release.sha / "docker.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        client = engine.require()
        try:
            self._pull_bases(client, name, instructions, report)
            earlier = self._earlier(client, release, report)
            with (
                tempfile.TemporaryDirectory(dir=log.parent, prefix=".docker-") as work,
                log.open("w") as file,
            ):
                archive = Path(work) / "context.tar"
                files.write(archive)
                order = self._order(release, archive, name, instructions)
                progress = Progress(name, log, file, report)
                if self.buildkit:
                    image_id = self._buildkit(order, earlier, progress, Path(work))
                else:
                    image_id = self._classic(order, earlier, progress, client)
            if branch := self.history.branch(release):
                client.api.tag(image_id, release.app, names.branch_tag(branch), force=True)
        except APIError as error:
            raise BuildFailed(
                f"the Docker engine refused: {one_line(error.explanation or error)}"
            ) from error
        except (DockerException, RequestException) as error:
            raise EngineLost(
                f"the Docker engine does not answer any more ({one_line(error)}); once it runs "
                "again, the same command goes on"
            ) from error
        finally:
            client.close()
        return Image(release.app, release.sha, "", image_id, f"docker:{image_id}")

    def _order(
        self, release: Release, archive: Path, name: str, instructions: tuple[Instruction, ...]
    ) -> Order:
        return Order(
            archive,
            name,
            instructions,
            f"{release.app}:{release.sha}",
            self.timeout,
            labels=labels(release, source_url(self.history.source())),
            args=self.args,
            target=self.target,
            nocache=self.nocache,
            network=self.network,
        )

    def _classic(
        self, order: Order, earlier: Sequence[Earlier], progress: Progress, client: DockerClient
    ) -> str:
        cache_from, source = choose(earlier)
        image_id = Classic(replace(order, cache_from=cache_from), progress).run(client)
        progress.report.line(progress.summary(source))
        return image_id

    def _buildkit(
        self, order: Order, earlier: Sequence[Earlier], progress: Progress, work: Path
    ) -> str:
        host = engine.require_address()
        cache_from = [image.name for image in earlier]
        secrets = {key: self.project.secrets.get(name) for key, name in self.secrets.items()}
        run = BuildKit(replace(order, cache_from=cache_from, secrets=secrets), progress)
        image_id = run.run(host, work)
        progress.report.line(progress.summary(origin(earlier)))
        return image_id

    def _earlier(
        self, client: DockerClient, release: Release, report: Report
    ) -> tuple[Earlier, ...]:
        if self.nocache:
            return ()
        finder = Finder(client, self._registry, report)
        candidates = self.history.candidates(release, report)
        return finder.find(release.app, candidates, self.cache_from)

    def _pull_bases(
        self,
        client: DockerClient,
        name: str,
        instructions: tuple[Instruction, ...],
        report: Report,
    ) -> None:
        """Get the base images first, with the registry's login where they are its own."""
        registry = self._registry
        for stage in dockerfile.stages(instructions, self.args, self.target):
            base = stage.image
            if not base or has_image(client, base):
                continue
            login = registry.login() if isinstance(registry, RemoteRegistry) else None
            if why := pull(client, base, report, login):
                raise BuildFailed(
                    f"{name}:{stage.instructions[0].line}: the base image {base} is neither in "
                    f"the Docker engine nor can it be pulled: {why}; check its name, and `docker "
                    "login` if it is private"
                )

    @property
    def _registry(self) -> object:
        return getattr(self.project, "registry", None)
