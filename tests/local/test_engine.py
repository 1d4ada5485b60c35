"""Docker engines: none is noticed quickly, a real one takes images and runs them."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fearless.errors import FearlessError
from fearless.image_source import opened
from fearless.interfaces import Image
from fearless.local import engine
from fearless.local.builder import LocalBuilder
from fearless.oci import Layout
from fearless.testing.fakes import SilentReport
from tests import images

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.docker_engine"]


@pytest.mark.parametrize(
    "host", ["unix:///nonexistent", "tcp://127.0.0.1:1", "nonsense://x", "unix://{silent}"]
)
def test_no_engine_is_noticed_quickly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", host.format(silent=tmp_path / "s"))
        started = time.monotonic()
        assert engine.connect() is None
        assert time.monotonic() - started < 10
        with pytest.raises(FearlessError, match=r"no Docker engine answers.*DOCKER_HOST is"):
            engine.require()


def test_where_engines_listen(tmp_path: Path) -> None:
    desktop = tmp_path / ".docker/run/docker.sock"
    desktop.parent.mkdir(parents=True)
    desktop.touch()
    found = engine.addresses({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/nonexistent"})
    assert f"unix://{desktop}" in found
    assert not [host for host in found if "nonexistent" in host]
    assert engine.addresses({"DOCKER_HOST": "tcp://x:1", "HOME": str(tmp_path)}) == ["tcp://x:1"]


def test_an_image_without_a_base_is_told_apart(tmp_path: Path, report: SilentReport) -> None:
    context = images.context(tmp_path, {"Dockerfile": f"FROM python:{images.VERSION}\n"})
    project = images.FakeProject(tmp_path)
    local = LocalBuilder(project).build(images.release(), context, report)  # type: ignore[arg-type]
    layout = Path(local.source.removeprefix("oci:"))
    assert not engine.holds_base(layout, local.digest)
    with pytest.raises(FearlessError, match="made by the local builder and has no base image"):
        engine.load(None, layout, local.digest)  # type: ignore[arg-type]
    other = images.image(Layout.create(tmp_path / "other"), Cmd=["x"])
    assert engine.holds_base(tmp_path / "other", other.digest)


@pytest.mark.docker
@pytest.mark.slow
def test_an_engine_that_answers(
    monkeypatch: pytest.MonkeyPatch, docker_engine: DockerEngine
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    client = engine.connect()
    assert client is not None
    assert client.ping()
    client.close()


@pytest.mark.docker
@pytest.mark.slow
def test_saving_what_the_engine_does_not_have(docker_engine: DockerEngine, tmp_path: Path) -> None:
    with pytest.raises(FearlessError, match="cannot give image sha256:0"):
        engine.save(docker_engine.client, "sha256:" + "0" * 64, tmp_path / "x.tar")


@pytest.mark.docker
@pytest.mark.slow
def test_an_image_of_the_engine_is_opened_as_a_layout(
    docker_engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    layer = images.tarball(tmp_path / "l.tar", {"a": images.text("2")})
    image = images.image(Layout.create(tmp_path / "layout"), layer, Cmd=["x"])
    loaded = engine.load(docker_engine.client, tmp_path / "layout", image.digest)
    try:
        work = tmp_path / "work"
        work.mkdir()
        with opened(Image("shop", "t", "", loaded, f"docker:{loaded}"), work) as (found, digest):
            assert found.verify(digest).config.digest == image.image_id
        assert list(work.iterdir()) == []
    finally:
        docker_engine.client.images.remove(loaded, force=True)


@pytest.mark.docker
@pytest.mark.slow
def test_loading_a_layout(docker_engine: DockerEngine, tmp_path: Path) -> None:
    layer = images.tarball(tmp_path / "l.tar", {"a": images.text("1")})
    image = images.image(Layout.create(tmp_path / "layout"), layer, Cmd=["x"])
    client = docker_engine.client
    try:
        assert engine.load(client, tmp_path / "layout", image.digest) == image.image_id
        assert engine.load(client, tmp_path / "layout", image.digest) == image.image_id
    finally:
        client.images.remove(image.image_id, force=True)
