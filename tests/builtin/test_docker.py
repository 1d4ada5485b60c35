"""The Docker builder on a real engine: build, push, load back, run; and what it says on failure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fearless.builtin.docker import BuildFailed, DockerBuilder
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Image
from fearless.local import engine
from fearless.local.auto import AutoBuilder
from fearless.local.bundle import unpack
from fearless.local.registry import LocalRegistry
from fearless.testing.fakes import SilentReport
from tests import images

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.docker_engine"]

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"shop {os.getuid()}".encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8123/').read().decode())"
APP: dict[str, str | bytes] = {
    "Dockerfile": f"""FROM python:{images.VERSION}-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
USER 1000
EXPOSE 8080
HEALTHCHECK --interval=5s CMD ["python", "-c", "1"]
CMD ["python", "-m", "shop"]
""",
    ".dockerignore": "secret\n",
    "secret": "not for the image",
    "requirements.txt": "pip\n",
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


def build(builder: DockerBuilder, tmp_path: Path, report: SilentReport, **changed: str) -> Image:
    context = images.context(tmp_path / "context", APP | changed)
    return builder.build(images.release(), context, report)


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
    assert inside.labels["fearless:sha"] == images.SHA

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
def test_a_rebuild_after_a_change_uses_the_cache(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport
) -> None:
    build(builder, tmp_path, report)
    build(builder, tmp_path, report, **{"shop/extra.py": "x = 1\n"})
    steps, cached = (int(word) for word in report.lines[-1].split() if word.isdigit())
    assert cached >= 3
    assert cached < steps


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (
            "RUN python -c \"print('it broke'); raise SystemExit(3)\"",
            r"Dockerfile:3: `RUN python .*` failed with exit code 3: it broke \(log: ",
        ),
        ("COPY nothing .", r"Dockerfile:3: `COPY nothing \.` failed with COPY failed: .*nothing"),
        ("FROM nowhere.localhost/nothing:1", r"Dockerfile:3: `FROM nowhere.* failed with "),
    ],
)
def test_a_failing_step_is_one_line(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport,
    instruction: str, message: str,
) -> None:  # fmt: skip
    text = f"FROM python:{images.VERSION}-slim\n# a comment\n{instruction}\n"
    with pytest.raises(BuildFailed, match=message) as caught:
        build(builder, tmp_path, report, Dockerfile=text)
    assert "\n" not in str(caught.value)
    log = Path(str(caught.value).rpartition("(log: ")[2].rstrip(")"))
    assert "Step 2/" in log.read_text()
    left = used.client.containers.list(all=True)
    assert not left


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
def test_a_build_that_takes_too_long_is_stopped(
    used: DockerEngine, project: images.FakeProject, tmp_path: Path, report: SilentReport
) -> None:
    builder = DockerBuilder(project, timeout=2)  # type: ignore[arg-type]
    text = f"FROM python:{images.VERSION}-slim\nRUN sleep 60\n"
    started = time.monotonic()
    with pytest.raises(BuildFailed, match=r"the build took longer than 2 s"):
        build(builder, tmp_path, report, Dockerfile=text)
    assert time.monotonic() - started < 20
    while used.client.containers.list():
        assert time.monotonic() - started < 30, "the engine still builds"
        time.sleep(0.05)


def test_without_an_engine(
    builder: DockerBuilder, tmp_path: Path, report: SilentReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    with pytest.raises(FearlessError, match="no Docker engine answers: install one"):
        build(builder, tmp_path, report)


@pytest.mark.docker
@pytest.mark.slow
def test_requirements_the_base_image_has_need_no_network(
    used: DockerEngine, builder: DockerBuilder, tmp_path: Path, report: SilentReport
) -> None:
    wheel = tmp_path / "greeter-1.0-py3-none-any.whl"
    wheel.write_bytes(images.wheel("greeter", {"greeter.py": "print('hello')\n"}))
    used.load_base([wheel])
    try:
        image = build(builder, tmp_path, report, **{"requirements.txt": "greeter==1.0\n"})
        command = ["python", "-c", "import greeter"]
        said = used.client.containers.run(image.image_id, command, remove=True)
    finally:
        used.load_base()
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
