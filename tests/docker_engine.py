"""A real Docker engine for tests, and the base image in it.

A test module gets its fixtures by `pytest_plugins = ["tests.docker_engine"]`.

`docker_engine` runs in a network namespace of its own, so that it can never touch the bridge and
firewall of an engine this machine runs already. Containers started with `network_mode="host"`
share that namespace: they reach each other and the tests reach them with `exec_run`, not by a
socket of this host. `host_docker_engine` is for tests that must reach containers from the host; it
shares the host's network, with no bridge and no firewall rules, and is skipped when this machine
has a Docker bridge, which it would delete.

Both need root and dockerd. Without them their tests are skipped; with CI=true they fail.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests import base_image

LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
request = struct.pack("16sh22x", b"lo", 1)
fcntl.ioctl(socket.socket(), 0x8914, request)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Gives a new network namespace its loopback interface, then becomes the program given."""


class DockerEngine:
    """A running dockerd: what DOCKER_HOST must be to use it, and a client of it."""

    def __init__(self, host: str, directory: Path) -> None:
        import docker

        self.host = host
        self.directory = directory
        self.client: Any = docker.DockerClient(base_url=host, version="auto", timeout=120)

    def load_base(self, wheels: Sequence[Path] = ()) -> str:
        """Put the base image in as `python:3.X-slim`, with these wheels installed; its id."""
        archive = self.directory / "base.tar"
        base_image.write(archive, wheels)
        with archive.open("rb") as file:
            (image,) = self.client.images.load(file)
        archive.unlink()
        return str(image.id)


@contextmanager
def start(directory: Path, *, isolated: bool = True) -> Iterator[DockerEngine]:
    """Run dockerd with everything it writes in `directory`, and stop it by its process id."""
    socket = directory / "docker.sock"
    dockerd = [
        *("dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false"),
        *("--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")),
        *("-H", f"unix://{socket}", "-p", str(directory / "dockerd.pid")),
    ]
    alone = ["unshare", "-n", "--", sys.executable, "-c", LOOPBACK_UP] if isolated else []
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
    with (directory / "dockerd.log").open("w") as log:
        process = subprocess.Popen(
            [*alone, *dockerd],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        engine = _when_ready(process, f"unix://{socket}", directory)
        try:
            yield engine
        finally:
            for container in engine.client.containers.list(all=True):
                container.remove(force=True)
            engine.client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _unmount_below(directory)
        shutil.rmtree(directory)


def _unmount_below(directory: Path) -> None:
    """dockerd leaves the mount of its network namespace behind."""
    mounted = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    for path in reversed([path for path in mounted if path.is_relative_to(directory)]):
        subprocess.run(["umount", "--lazy", path], check=True)


def _when_ready(process: subprocess.Popen[bytes], host: str, directory: Path) -> DockerEngine:
    from docker.errors import DockerException

    deadline = time.monotonic() + 60
    while True:
        try:
            return DockerEngine(host, directory)
        except (DockerException, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                _without((directory / "dockerd.log").read_text()[-1500:] or "dockerd did not start")
            time.sleep(0.05)


def _without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have a Docker engine: {reason}")
    pytest.skip(reason)


def _directory() -> Path:
    """A short path: the name of a socket has at most 107 characters."""
    return Path(tempfile.mkdtemp(prefix="docker-"))


def _check() -> None:
    if not shutil.which("dockerd"):
        _without("dockerd is not installed (Debian: apt-get install docker.io)")
    if os.geteuid() != 0:
        _without("dockerd needs root")


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """An engine with the base image, in its own network namespace. It is not in DOCKER_HOST."""
    _check()
    with start(_directory()) as engine:
        engine.load_base()
        yield engine


@pytest.fixture(scope="session")
def host_docker_engine() -> Iterator[DockerEngine]:
    """An engine with the base image whose host network is this machine's."""
    _check()
    if Path("/sys/class/net/docker0").exists():
        _without("this machine runs a Docker engine already, and a second would delete its bridge")
    with start(_directory(), isolated=False) as engine:
        engine.load_base()
        yield engine
