"""The farm for real: workers as processes, each with an engine of its own, and a real registry."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fearless import names
from fearless.builtin.farm.builder import QueueBuilder
from fearless.builtin.farm.log import LogReader
from fearless.builtin.farm.status import Status
from fearless.errors import FearlessError
from fearless.interfaces import BuildContext, Release
from fearless.procedure import Procedure
from fearless.project import Project
from fearless.steps.image import ContainerImage
from fearless.testing import base_image
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import SilentReport
from tests.builtin.farm.given import Repository, until
from tests.docker_engine import DockerEngine
from tests.docker_registry import DockerRegistry

pytest_plugins = ["tests.docker_engine", "tests.docker_registry"]
pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(240)]

DOCKERFILE = f"""FROM {base_image.SMALL}
WORKDIR /app
COPY requirements.txt .
RUN echo installed $(cat requirements.txt)
COPY app.py .
CMD ["cat", "app.py"]
"""
CONFIG = """[app]
name = "shop"
source = "app"

[cloud]
use = "aws"

[container]
use = "queue"
queue = "{queue}"
timeout = {timeout}
patience = 40

[registry]
use = "oci"
registry = "{registry}"
"""
SLOW_STEP = "RUN sleep 600 # {0}"
VISIBILITY = 4


class Site:
    """A project whose workers are started and ended by the tests."""

    def __init__(
        self, root: Path, emulator: Emulator, registry: DockerRegistry, engines: list[DockerEngine]
    ) -> None:
        self.root = root
        self.engines = engines
        self.registry = registry
        self.queue = f"shop-{uuid.uuid4().hex[:8]}"
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DOCKER_"))},
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": emulator.url,
            "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
            "PYTHONUNBUFFERED": "1",
        }
        self.origin = Repository(
            root,
            {
                ".gitignore": ".fearless/\n",
                "release.toml": self.config(),
                "app/Dockerfile": DOCKERFILE,
                "app/requirements.txt": "nothing\n",
                "app/app.py": "print(1)\n",
            },
        )
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.log = root.parent / "workers.log"

    def config(self, timeout: int = 600) -> str:
        return CONFIG.format(queue=self.queue, registry=self.registry.host, timeout=timeout)

    @property
    def builder(self) -> QueueBuilder:
        builder = Project(self.root).builder
        assert isinstance(builder, QueueBuilder)
        return builder

    def release(self) -> Release:
        sha, date = Project(self.root).git.commit("HEAD")
        return names.release("shop", sha, date)

    def start(self, name: str, engine: int) -> subprocess.Popen[bytes]:
        argv = ["build", "worker", "--name", name, "--visibility", str(VISIBILITY)]
        code = "import sys; from fearless.cli import main; sys.exit(main())"
        with self.log.open("ab") as log:
            self.workers[name] = subprocess.Popen(
                [sys.executable, "-c", code, *argv],
                cwd=self.root,
                env={**self.env, "DOCKER_HOST": self.engines[engine].host},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(lambda: self._started(name), f"the start of {name}")
        return self.workers[name]

    def _started(self, name: str) -> bool:
        said = self.log.read_text()
        assert self.workers[name].poll() is None, said
        return f"{name}: waiting" in said

    def send(self) -> str:
        from fearless.builtin.farm.builder import sender

        builder = self.builder
        sha, _ = builder.project.git.commit("HEAD")
        sent = builder.farm.send(builder.options, "shop", sha, "HEAD", sender())
        return sent.status.id

    def status(self, id: str) -> Status:
        return self.builder.farm.builds.need(id)

    def over(self, id: str) -> Status:
        return self.builder.farm.watch(id, lambda _: None, patience=40, timeout=60, poll=0.1)

    def lines(self, id: str) -> list[str]:
        return LogReader(self.builder.farm.builds, id).lines()

    def in_the_slow_step(self, id: str) -> str:
        """The worker whose engine really runs the step, once one does."""

        def running() -> bool:
            found = [
                c
                for engine in self.engines
                for c in engine.client.containers.list(ignore_removed=True)
            ]
            return "sleep 600" in str([container.attrs for container in found])

        until(running, "the slow step")
        status = self.status(id)
        assert status.state == "running"
        return status.worker

    def idle(self, engine: int) -> None:
        """Return once the engine has no container left."""
        containers = self.engines[engine].client.containers
        until(
            lambda: not containers.list(all=True, ignore_removed=True),
            "an engine without containers",
        )

    def end(self) -> None:
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.workers.clear()


@pytest.fixture(scope="module")
def two(
    engines: Callable[[], DockerEngine],
    docker_registry: DockerRegistry,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[DockerEngine]:
    made = [engines(), engines()]
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    base_image.write_small(archive)
    for engine in made:
        engine.forward(docker_registry.port)
        with archive.open("rb") as file:
            engine.client.images.load(file)
    return made


@pytest.fixture
def site(
    two: list[DockerEngine],
    docker_registry: DockerRegistry,
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    made = Site(tmp_path / "shop", emulator, docker_registry, two)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, made.env[name])
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    yield made
    made.end()


def cached(lines: list[str]) -> int:
    """How many steps came from the cache: `cache: 3/5 steps`."""
    (line,) = [line for line in lines if line.startswith("cache: ")]
    match = re.fullmatch(r"cache: (\d+)/5 steps(, from .*)?", line)
    assert match, line
    return int(match[1])


def test_the_second_worker_is_warm(site: Site, report: SilentReport) -> None:
    first = site.start("a", 0)
    project = Project(site.root)
    done = ContainerImage(Procedure(project, site.release(), report, "doit image")).make()
    image = project.registry.find(site.release())
    assert image is not None and done.data["image"] == image.reference
    assert image.digest == site.builder.farm.builds.builds()[0].digest
    assert any("installed nothing" in line for line in report.lines), "the log, as it comes"
    assert cached(report.lines) == 0
    first.terminate()
    site.origin.commit({"app/app.py": "print(2)\n"})
    site.start("b", 1)
    site.engines[1].client.images.get(f"{site.registry.host}/shop:branch-main")
    status = site.over(site.send())
    assert (status.state, status.worker) == ("succeeded", "b")
    lines = site.lines(status.id)
    assert cached(lines) == 3, "WORKDIR, COPY and RUN, all before the change"
    assert any("from branch main" in line for line in lines)
    assert status.digest != image.digest
    assert first.wait(15) == 0, site.log.read_text()
    assert {"branch-main", status.sha, image.tag} <= set(site.registry.tags("shop"))


def test_a_killed_worker_is_replaced_and_the_build_is_finished_once(site: Site) -> None:
    text = DOCKERFILE + SLOW_STEP.format(uuid.uuid4())
    site.origin.commit({"app/Dockerfile": text.replace("sleep 600", "sleep 4; true sleep 600")})
    site.start("a", 0)
    site.start("b", 1)
    id = site.send()
    killed = site.in_the_slow_step(id)
    site.workers[killed].send_signal(signal.SIGKILL)
    other = "ab".replace(killed, "")
    status = site.over(id)
    assert (status.state, status.worker, status.attempts) == ("succeeded", other, 2)
    site.idle("ab".index(killed))
    project = Project(site.root)
    found = project.registry.find(site.release())
    assert found is not None and found.digest == status.digest
    depth = site.builder.farm.queue.depth()
    assert (depth.visible, depth.in_flight, depth.dead) == (0, 0, 0)
    assert [build.id for build in site.builder.farm.builds.builds()] == [id]
    begun = [line for line in site.lines(id) if f": build {id} of shop@" in line]
    assert [line[0] for line in begun] == [killed, other], "one log of both attempts"


def test_sigterm_hands_a_build_back_at_once(site: Site) -> None:
    site.origin.commit({"app/Dockerfile": DOCKERFILE + SLOW_STEP.format(uuid.uuid4())})
    worker = site.start("a", 0)
    id = site.send()
    assert site.in_the_slow_step(id) == "a"
    began = time.monotonic()
    worker.terminate()
    until(lambda: site.builder.farm.queue.depth().visible, "a message that others can see")
    assert time.monotonic() - began < VISIBILITY
    assert worker.wait(15) == 0, site.log.read_text()
    site.idle(0)
    status = site.status(id)
    assert (status.state, status.attempts, status.error) == ("queued", 0, "")
    assert site.builder.farm.builds.workers() == []


def test_failures_end_as_dead_letters_with_their_reasons(site: Site) -> None:
    site.start("a", 0)
    expected = []

    site.origin.commit({"app/Dockerfile": DOCKERFILE + "RUN echo why; exit 3\n"})
    broken = site.over(site.send())
    assert broken.error == "Dockerfile:7: `RUN echo why; exit 3` failed with exit code 3: why"
    assert "why" in site.lines(broken.id)
    assert site.lines(broken.id)[-1] == f"failed: {broken.error}"
    expected.append(broken.error)

    slow = DOCKERFILE + SLOW_STEP.format(uuid.uuid4())
    site.origin.commit({"app/Dockerfile": slow, "release.toml": site.config(timeout=2)})
    late = site.over(site.send())
    assert late.error.startswith("the build took longer than 2 s; raise `[container] timeout`")
    site.idle(0)
    expected.append(late.error)

    farm, sha = site.builder.farm, "5" * 40
    sent = farm.send(site.builder.options, "shop", sha, "lost", "ann@laptop")
    lost = site.over(sent.status.id)
    assert lost.error == (
        "commit 5555555555 is not in repository shop: push it there, and send the build again"
    )
    expected.append(lost.error)

    site.origin.commit({"app/Dockerfile": DOCKERFILE, "release.toml": site.config()})
    (site.root / "release.toml").write_text(site.config(timeout=7))
    other = site.over(site.send())
    assert other.error.startswith("the message and release.toml at ")
    assert "`timeout` is 7, not 600; commit and push" in other.error
    expected.append(other.error)

    assert [letter.reason for letter in farm.queue.dead()] == expected
    assert {status.attempts for status in farm.builds.builds()} == {1}


def test_nobody_is_there(site: Site, report: SilentReport) -> None:
    text = site.config().replace("patience = 40", "patience = 1.5")
    site.origin.commit({"release.toml": text})
    with pytest.raises(FearlessError, match=r"no worker was heard of for 1.5 s: start one with `f"):
        site.builder.build(site.release(), BuildContext(Path("unused")), report)
    assert "no build worker is alive" in report.lines[-1]
    with pytest.raises(FearlessError, match="no worker was heard of"):
        site.builder.build(site.release(), BuildContext(Path("unused")), report)
    assert len(site.builder.farm.builds.builds()) == 1, "who asks again joins it"
