"""Builds by BuildKit on a real engine, through the `docker` command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fearless.builtin.builds.earlier import History
from fearless.builtin.builds.progress import BuildFailed
from fearless.builtin.docker import DockerBuilder
from fearless.errors import ConfigError, FearlessError
from fearless.testing.fakes import SilentReport
from tests import images
from tests.builtin.builds.given import APP, BASE, OnABranch, build, interrupted, until

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.builtin.builds.given"]
pytestmark = [pytest.mark.docker, pytest.mark.slow]

SETTINGS: dict[str, Any] = {"buildkit": True, "network": "none"}


@pytest.fixture
def used(used: DockerEngine, able: None) -> DockerEngine:
    """The engine, and a `docker` command that can use BuildKit."""
    return used


@pytest.fixture
def builder(project: images.FakeProject) -> DockerBuilder:
    made = DockerBuilder(project, **SETTINGS)  # type: ignore[arg-type]
    made.history = History(SimpleNamespace(git=OnABranch("feature/x", "main")))
    return made


def test_a_build_and_a_rebuild(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport
) -> None:
    text = APP["Dockerfile"].replace("WORKDIR", f"WORKDIR /{uuid.uuid4()}\nWORKDIR")
    image = build(builder, tmp_path, report, Dockerfile=text)
    assert report.lines == ["cache: 0/5 steps"]
    assert image.source == f"docker:{image.image_id}"
    inside = used.client.images.get(f"shop:{images.SHA}")
    assert inside.id == image.image_id == used.client.images.get("shop:branch-feature-x").id
    assert inside.labels["org.opencontainers.image.revision"] == images.SHA
    build(builder, tmp_path, report, Dockerfile=text, **{"shop/extra.py": ""})
    assert report.lines[1:] == ["cache: 4/5 steps, from branch feature/x"]
    builder.nocache = True
    build(builder, tmp_path, report, Dockerfile=text)
    assert report.lines[2] in ("cache: 0/5 steps", "cache: 2/5 steps, from this engine"), "WORKDIR"


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (
            "RUN python -c \"print('it'); print('broke'); raise SystemExit(3)\"",
            r"Dockerfile:4: `RUN python .*` failed with exit code 3: broke \(log: ",
        ),
        ("COPY nothing .", r'Dockerfile:4: `COPY nothing \.` failed with "/nothing" not found'),
        ("COPY --broken a b", r"`docker build` ended with exit code 1: .*[Uu]nknown flag: broken"),
    ],
)
def test_a_failing_step_is_one_line(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport,
    instruction: str, message: str,
) -> None:  # fmt: skip
    text = f"{BASE}ENV A=1\n# a comment\n{instruction}\n"
    with pytest.raises(BuildFailed, match=message) as caught:
        build(builder, tmp_path, report, Dockerfile=text)
    assert "\n" not in str(caught.value)
    if "broke'" in instruction:
        assert report.lines == ["| it", "| broke"]
    assert not used.client.images.list("shop")


def test_a_secret_is_read_and_leaves_no_trace(
    used: DockerEngine, project: images.FakeProject, tmp_path: Path, report: SilentReport
) -> None:
    hush = uuid.uuid4().hex
    project.secrets = SimpleNamespace(get=lambda name: f"{hush} {name}")  # type: ignore[attr-defined]
    builder = DockerBuilder(project, **SETTINGS, secrets={"pip": "PIP_TOKEN"})  # type: ignore[arg-type]
    text = f"{BASE}RUN --mount=type=secret,id=pip cat /run/secrets/pip\n"
    image = build(builder, tmp_path, report, Dockerfile=text)
    log = next(tmp_path.rglob("docker.log"))
    assert f"{hush} PIP_TOKEN" in log.read_text(), "it was read; this RUN gives it away itself"
    inside = used.client.images.get(image.image_id)
    assert hush not in json.dumps([inside.attrs, inside.history()])
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path != log]
    assert not [path for path in left if hush.encode() in path.read_bytes()]
    assert hush.encode() not in b"".join(inside.save())


def test_secrets_need_buildkit(project: images.FakeProject) -> None:
    with pytest.raises(ConfigError, match=r"secrets` needs `buildkit = true`"):
        DockerBuilder(project, secrets={"pip": "PIP_TOKEN"})  # type: ignore[arg-type]


def sleepers(seconds: str) -> list[str]:
    """The processes that sleep for so long."""
    wanted = f"sleep\0{seconds}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path.parent.name] * (path.read_bytes() == wanted)
        except OSError:
            continue
    return found


def test_a_silent_step_that_takes_too_long_is_stopped(
    used: DockerEngine, project: images.FakeProject, tmp_path: Path, report: SilentReport
) -> None:
    seconds = f"60.{uuid.uuid4().int}"
    builder = DockerBuilder(project, **SETTINGS, timeout=3)  # type: ignore[arg-type]
    started = time.monotonic()
    with pytest.raises(BuildFailed, match=r"longer than 3 s; .* at Dockerfile:2: `RUN sleep 60"):
        build(builder, tmp_path, report, Dockerfile=f"{BASE}RUN sleep {seconds}\n")
    assert time.monotonic() - started < 15
    until(lambda: not sleepers(seconds), "the step is gone")


def test_a_build_that_is_ended_leaves_nothing_behind(used: DockerEngine, tmp_path: Path) -> None:
    seconds = f"60.{uuid.uuid4().int}"
    context = images.context(tmp_path / "context", {"Dockerfile": f"{BASE}RUN sleep {seconds}\n"})
    with interrupted(tmp_path, context, used.host, **SETTINGS) as process:
        until(lambda: sleepers(seconds), "the step runs")
        process.send_signal(signal.SIGINT)
    until(lambda: not sleepers(seconds), "the step is gone")
    assert not used.client.images.list("shop")
    assert not list((tmp_path / ".fearless").rglob("context.tar"))


def test_without_the_command(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FearlessError, match=r"needs the `docker` command, which is not in PATH"):
        build(builder, tmp_path, report)


def test_a_command_without_buildkit(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As docker 23 and newer say it."""
    command = tmp_path / "docker"
    command.write_text(
        "#!/bin/sh\necho 'ERROR: the buildx component is missing or broken.'; exit 1\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert shutil.which("docker") == str(command)
    with pytest.raises(BuildFailed, match=r"has no BuildKit: install docker-buildx, or leave"):
        build(builder, tmp_path, report)
