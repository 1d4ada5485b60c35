"""Small builds on a real engine, and builds that are interrupted.

A test module gets its fixtures by `pytest_plugins = ["tests.builtin.builds.given"]`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fearless.builtin.docker import DockerBuilder
from fearless.errors import FearlessError
from fearless.interfaces import BuildContext, Image
from fearless.testing.docker_engine import buildkit_command
from fearless.testing.fakes import SilentReport
from tests import images
from tests.commands import ROOT
from tests.docker_engine import without

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.docker_engine"]

BASE = f"FROM python:{images.VERSION}-slim\n"
SLEEPING = f"{BASE}RUN sleep 60\n"
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"shop {os.getuid()}".encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
APP: dict[str, str] = {
    "Dockerfile": f"""FROM python:{images.VERSION}-slim
WORKDIR /app
COPY requirements.txt .
RUN cp requirements.txt installed.txt
COPY . .
USER 1000
EXPOSE 8080
HEALTHCHECK --interval=5s CMD ["python", "-c", "1"]
CMD ["python", "-m", "shop"]
""",
    ".dockerignore": "secret\n",
    "secret": "not for the image",
    "requirements.txt": "flask\n",
    "shop/__main__.py": SERVER,
}


@pytest.fixture
def project(tmp_path: Path) -> images.FakeProject:
    return images.FakeProject(tmp_path / "project")


@pytest.fixture
def builder(project: images.FakeProject) -> DockerBuilder:
    return DockerBuilder(project)  # type: ignore[arg-type]


@pytest.fixture
def used(docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    """The engine, in DOCKER_HOST, left without what the test built."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    yield docker_engine
    for image in docker_engine.client.images.list("shop"):
        docker_engine.client.images.remove(image.id, force=True)


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `docker` command that can use BuildKit is the first in PATH."""
    try:
        monkeypatch.setenv("PATH", f"{buildkit_command()}:{os.environ['PATH']}")
    except FearlessError as error:
        without(str(error.args[0]))


class OnABranch:
    """As much of git as a builder asks for."""

    def __init__(self, branch: str, default: str) -> None:
        self.named, self.default = branch, default

    def branch(self, sha: str) -> str:
        return self.named

    def default_branch(self) -> str:
        return self.default

    def remote_url(self) -> str:
        return ""


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"not within 60 s: {what}"
        time.sleep(0.05)


def nothing_is_left(engine: DockerEngine) -> None:
    until(
        lambda: not engine.client.containers.list(all=True, ignore_removed=True),
        "its container is gone",
    )
    assert not engine.client.images.list("shop")


BUILD = """
import sys
from pathlib import Path
from fearless.builtin.docker import DockerBuilder
from fearless.interfaces import BuildContext
from fearless.testing.fakes import SilentReport
from tests import images
project = images.FakeProject(Path(sys.argv[1]))
builder = DockerBuilder(project, **eval(sys.argv[3]))
builder.build(images.release(), BuildContext(Path(sys.argv[2])), SilentReport())
"""


@contextmanager
def interrupted(
    root: Path, context: BuildContext, host: str, **settings: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A build in a process of its own, which must not end well."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(root), str(context.archive), repr(settings)],
        env={**os.environ, "DOCKER_HOST": host},
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
        assert process.wait(30) != 0
    finally:
        process.kill()
        process.wait()


def build(builder: DockerBuilder, tmp_path: Path, report: SilentReport, **changed: str) -> Image:
    context = images.context(tmp_path / "context", APP | changed)
    return builder.build(images.release(), context, report)
