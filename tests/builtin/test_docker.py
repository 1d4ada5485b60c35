"""The Docker builder on a real engine: build, push, load back, run; and what it says on failure."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import docker
import pytest

from fearless.builtin.builds.earlier import History
from fearless.builtin.builds.progress import BuildFailed, EngineLost
from fearless.builtin.docker import DockerBuilder
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Image
from fearless.local import engine
from fearless.local.auto import AutoBuilder
from fearless.local.bundle import unpack
from fearless.local.registry import LocalRegistry
from fearless.testing import base_image
from fearless.testing.fakes import SilentReport
from tests import images
from tests.builtin.builds.given import (
    APP,
    BASE,
    SLEEPING,
    OnABranch,
    build,
    interrupted,
    nothing_is_left,
    until,
)

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.builtin.builds.given"]

ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8123/').read().decode())"


@pytest.mark.docker
@pytest.mark.slow
def test_build_push_load_and_run(
    used: DockerEngine,
    builder: DockerBuilder,
    project: images.FakeProject,
    tmp_path: Path,
    report: SilentReport,
) -> None:
    image = build(builder, tmp_path, report)
    assert image.source == f"docker:{image.image_id}"
    assert image.digest == ""
    inside = used.client.images.get(f"shop:{images.SHA}")
    assert inside.id == image.image_id
    assert inside.labels["org.opencontainers.image.revision"] == images.SHA
    assert inside.labels["org.opencontainers.image.title"] == "shop"
    assert inside.labels["fearless:sha"] == images.SHA
    assert f"shop:{images.SHA}" in inside.tags

    registry = LocalRegistry(project)  # type: ignore[arg-type]
    pushed = registry.push(image)
    assert pushed.image_id == image.image_id
    assert registry.find(images.release()) == pushed
    assert registry.push(image) == pushed

    used.client.images.remove(image.image_id, force=True)
    layout = Path(pushed.source.removeprefix("oci:"))
    assert engine.load(used.client, layout, pushed.digest) == image.image_id
    container = used.client.containers.run(
        image.image_id, detach=True, network_mode="host", environment={"PORT": "8123"}
    )
    try:
        assert ask(container) == "shop 1000"
    finally:
        container.remove(force=True)

    found = unpack(layout, pushed.digest, tmp_path / "rootfs")
    assert found.argv == (f"{found.root}/usr/local/bin/python", "-m", "shop")
    assert not (found.root / "app/secret").exists()


def ask(container: object) -> str:
    deadline = time.monotonic() + 30
    while True:
        code, output = container.exec_run(["python", "-c", ASK])  # type: ignore[attr-defined]
        if code == 0:
            return str(output.decode().strip())
        assert time.monotonic() < deadline, output
        time.sleep(0.05)


@pytest.mark.docker
@pytest.mark.slow
def test_another_image_under_the_same_tag_is_refused(
    used: DockerEngine,
    builder: DockerBuilder,
    project: images.FakeProject,
    tmp_path: Path,
    report: SilentReport,
) -> None:
    registry = LocalRegistry(project)  # type: ignore[arg-type]
    first = registry.push(build(builder, tmp_path, report))
    with pytest.raises(Refused, match="a tag never moves"):
        registry.push(build(builder, tmp_path, report, **{"new.py": ""}))
    assert registry.find(images.release()) == first


@pytest.mark.docker
@pytest.mark.slow
def test_a_rebuild_after_a_change_uses_what_the_engine_remembers(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport
) -> None:
    builder.history = History(SimpleNamespace(git=OnABranch("feature/x", "main")))
    text = APP["Dockerfile"].replace("WORKDIR", f"LABEL test={uuid.uuid4()}\nWORKDIR")
    files: dict[str, str] = {"Dockerfile": text}
    first = build(builder, tmp_path, report, **files)
    assert report.lines[-1] == "cache: 0/9 steps"
    second = build(builder, tmp_path, report, **files, **{"shop/extra.py": "x = 1\n"})
    assert report.lines[-1] == "cache: 4/9 steps, from this engine"
    broken = f"{text}RUN false\n"
    changed: dict[str, str] = {"requirements.txt": "pip\n# more\n"}
    with pytest.raises(BuildFailed):
        build(builder, tmp_path, report, Dockerfile=broken, **changed)
    tagged = used.client.images.get("shop:branch-feature-x")
    assert tagged.id == second.image_id != first.image_id, "a build that failed has no tag"
    build(builder, tmp_path, report, **files, **changed)
    assert report.lines[-1] == "cache: 4/9 steps, from this engine", "RUN: of one that failed"
    build(DockerBuilder(builder.project, nocache=True), tmp_path, report, **files)
    assert report.lines[-1] == "cache: 0/9 steps"


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (
            "RUN python -c \"print('it'); print('broke'); raise SystemExit(3)\"",
            r"Dockerfile:3: `RUN python .*` failed with exit code 3: broke \(log: ",
        ),
        ("COPY nothing .", r"Dockerfile:3: `COPY nothing \.` failed with COPY failed: .*nothing"),
        (
            "FROM nowhere.localhost/nothing:1",
            r"Dockerfile:3: the base image nowhere.localhost/nothing:1 is neither in the Docker "
            r"engine nor can it be pulled: .*nowhere.*; check its name, and `docker login`",
        ),
    ],
)
def test_a_failing_step_is_one_line(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport,
    instruction: str, message: str,
) -> None:  # fmt: skip
    text = f"{BASE}# a comment\n{instruction}\n"
    with pytest.raises(BuildFailed, match=message) as caught:
        build(builder, tmp_path, report, Dockerfile=text)
    assert "\n" not in str(caught.value)
    if "broke" in instruction:
        assert report.lines == ["| it", "| broke"]
        log = Path(str(caught.value).rpartition("(log: ")[2].rstrip(")"))
        assert "Step 2/" in log.read_text()
    assert not used.client.containers.list(all=True, ignore_removed=True)
    assert not used.client.images.list("shop")


@pytest.mark.docker
@pytest.mark.slow
def test_arguments_target_and_caches_that_do_not_exist(
    used: DockerEngine, project: images.FakeProject, tmp_path: Path, report: SilentReport
) -> None:
    builder = DockerBuilder(
        project,  # type: ignore[arg-type]
        dockerfile="Prod",
        target="first",
        args={"NAME": "given"},
        cache_from=["shop:never-built"],
    )
    first = f"FROM python:{images.VERSION}-slim AS first\nARG NAME\nENV NAME=$NAME\n"
    text = f"{first}FROM first\nRUN false\n"
    image = build(builder, tmp_path, report, Prod=text)
    assert "NAME=given" in used.client.images.get(image.image_id).attrs["Config"]["Env"]


@pytest.mark.docker
@pytest.mark.slow
def test_a_silent_step_that_takes_too_long_is_stopped(
    used: DockerEngine, project: images.FakeProject, tmp_path: Path, report: SilentReport
) -> None:
    builder = DockerBuilder(project, timeout=2)  # type: ignore[arg-type]
    started = time.monotonic()
    with pytest.raises(BuildFailed, match=r"longer than 2 s; .* at Dockerfile:2: `RUN sleep 60`"):
        build(builder, tmp_path, report, Dockerfile=SLEEPING)
    assert time.monotonic() - started < 15
    nothing_is_left(used)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_ended_leaves_nothing_behind(
    used: DockerEngine, tmp_path: Path, number: signal.Signals
) -> None:
    context = images.context(tmp_path / "context", {"Dockerfile": SLEEPING})
    with interrupted(tmp_path, context, used.host) as process:
        until(lambda: used.client.containers.list(ignore_removed=True), "the step runs")
        process.send_signal(number)
    nothing_is_left(used)
    assert not list((tmp_path / ".fearless").rglob("context.tar")) or number == signal.SIGKILL


@pytest.mark.docker
@pytest.mark.slow
def test_an_engine_that_dies_is_one_line(
    engines: Callable[[], DockerEngine],
    builder: DockerBuilder,
    tmp_path: Path,
    report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = engines()
    engine.load_base()
    monkeypatch.setenv("DOCKER_HOST", engine.host)

    def kill() -> None:
        until(lambda: engine.client.containers.list(ignore_removed=True), "the step runs")
        (container,) = engine.client.containers.list(ignore_removed=True)
        started = engine.client.api.inspect_container(container.id)["State"]["Pid"]
        shim = int(Path(f"/proc/{started}/stat").read_text().rpartition(")")[2].split()[1])
        for pid in (engine.pid, shim, started):
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(EngineLost) as caught:
        build(builder, tmp_path, report, Dockerfile=SLEEPING)
    thread.join()
    assert re.search(r"the Docker engine broke off \(.+\); once it runs", str(caught.value))
    assert "It was at Dockerfile:2: `RUN sleep 60` (log: " in str(caught.value)


def test_without_an_engine(
    builder: DockerBuilder, tmp_path: Path, report: SilentReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    with pytest.raises(FearlessError, match="no Docker engine answers: install one"):
        build(builder, tmp_path, report)


def test_an_engine_that_goes_away_before_the_build(
    builder: DockerBuilder, tmp_path: Path, report: SilentReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = docker.DockerClient(base_url="unix:///nonexistent", version="1.41")
    monkeypatch.setattr(engine, "require", lambda: gone)
    with pytest.raises(EngineLost, match=r"does not answer any more \(.+\); once it runs again"):
        build(builder, tmp_path, report)


@pytest.mark.docker
@pytest.mark.slow
def test_what_the_engine_refuses_is_one_line(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport
) -> None:
    with pytest.raises(BuildFailed, match=r"the Docker engine refused: .*must be lowercase"):
        build(builder, tmp_path, report, Dockerfile="FROM UPPER/Case:1\n")


@pytest.mark.docker
@pytest.mark.slow
def test_requirements_the_base_image_has_need_no_network(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport
) -> None:
    wheel = tmp_path / "greeter-1.0-py3-none-any.whl"
    wheel.write_bytes(images.wheel("greeter", {"greeter.py": "print('hello')\n"}))
    plain = used.client.images.get(base_image.NAME)
    used.load_base([wheel])
    try:
        text = f"{BASE}COPY requirements.txt .\nRUN pip install -r requirements.txt\n"
        requirements = {"requirements.txt": "greeter==1.0\n"}
        image = build(builder, tmp_path, report, Dockerfile=text, **requirements)
        command = ["python", "-c", "import greeter"]
        said = used.client.containers.run(image.image_id, command, remove=True)
    finally:
        plain.tag(base_image.NAME)
    assert said == b"hello\n"


# ------------------------------------------------------------------------- choosing


def auto(project: images.FakeProject, tmp_path: Path, report: SilentReport, base: str) -> Image:
    context = images.context(tmp_path / "context", {"Dockerfile": f"FROM {base}\nCMD python\n"})
    return AutoBuilder(project).build(images.release(), context, report)  # type: ignore[arg-type]


def test_auto_without_an_engine(
    project: images.FakeProject,
    tmp_path: Path,
    report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    image = auto(project, tmp_path, report, f"python:{images.VERSION}-slim")
    assert image.source.startswith("oci:")
    assert report.lines[0] == (
        "container: without Docker, by the local builder (no Docker engine answers)"
    )


@pytest.mark.docker
@pytest.mark.slow
def test_auto_with_an_engine(
    used: DockerEngine, project: images.FakeProject, tmp_path: Path, report: SilentReport
) -> None:
    image = auto(project, tmp_path, report, f"python:{images.VERSION}-slim")
    assert image.source.startswith("docker:")
    assert report.lines[0] == "container: by the Docker engine"


@pytest.mark.docker
@pytest.mark.slow
def test_auto_with_an_engine_that_lacks_the_base(
    used: DockerEngine, project: images.FakeProject, tmp_path: Path, report: SilentReport
) -> None:
    base = f"nowhere.localhost:1/python:{images.VERSION}-slim"
    image = auto(project, tmp_path, report, base)
    assert image.source.startswith("oci:")
    assert f"(the Docker engine has no {base} and cannot pull it: " in report.lines[0]
