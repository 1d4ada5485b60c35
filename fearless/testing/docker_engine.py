"""A real Docker engine in its own process and, unless told otherwise, its own network namespace.

It can never touch the bridge and firewall of an engine this machine runs already. Containers with
`network_mode="host"` share its namespace: they reach each other, and are reached by `exec_run`, not
by a socket of this host. `forward(port)` lets the engine reach what listens on that port of the
host's loopback. It needs root, and dockerd.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fearless.errors import FearlessError
from fearless.testing import base_image

LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
request = struct.pack("16sh22x", b"lo", 1)
fcntl.ioctl(socket.socket(), 0x8914, request)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Gives a new network namespace its loopback interface, then becomes the program given."""

CLONE_NEWNET = 0x40000000


class DockerEngine:
    """A running dockerd: what DOCKER_HOST must be to use it, its process id, a client of it."""

    def __init__(self, host: str, directory: Path, pid: int) -> None:
        import docker

        self.host = host
        self.directory = directory
        self.pid = pid
        self.client: Any = docker.DockerClient(base_url=host, version="auto", timeout=120)
        self._forwarded: dict[int, Forward] = {}

    def forward(self, port: int) -> None:
        """Let 127.0.0.1:`port` of the engine's network be that of this process's. Twice is once."""
        if port not in self._forwarded:
            self._forwarded[port] = Forward(self.pid, port)

    def close(self) -> None:
        """Remove its containers, unless it is dead, and leave it. Not the end of dockerd."""
        with contextlib.suppress(OSError):
            for container in self.client.containers.list(all=True, ignore_removed=True):
                container.remove(force=True)
        self.client.close()
        for forward in self._forwarded.values():
            forward.close()

    def load_base(self, wheels: Sequence[Path] = ()) -> str:
        """Put the base image in as `python:3.X-slim`, with these wheels installed; its id."""
        archive = self.directory / "base.tar"
        base_image.write(archive, wheels)
        with archive.open("rb") as file:
            (image,) = self.client.images.load(file)
        archive.unlink()
        return str(image.id)


class Forward:
    """Carries what is sent to a loopback port of another process's network to the same port here.

    A socket stays in the network it was made in, so only the listening one is made over there.
    """

    def __init__(self, pid: int, port: int) -> None:
        self.port = port
        made: list[socket.socket] = []
        thread = threading.Thread(target=lambda: made.append(_listen(pid, port)))
        thread.start()
        thread.join()
        (self._listener,) = made
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inside, _ = self._listener.accept()
                try:
                    outside = socket.create_connection(("127.0.0.1", self.port))
                except OSError:
                    inside.close()
                    continue
                for pair in ((inside, outside), (outside, inside)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


def _listen(pid: int, port: int) -> socket.socket:
    """A listening socket in that process's network. Its thread stays there, and must end."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns: the network of {pid}")
    return socket.create_server(("127.0.0.1", port), backlog=64)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def buildkit_command() -> str:
    """The folder of a `docker` command that can use BuildKit: in PATH, or Debian's.

    Docker 23 and newer need a plugin for it. Raises FearlessError where there is none.
    """
    for folder in (*os.environ["PATH"].split(os.pathsep), "/usr/bin"):
        command = f"{folder}/docker"
        if not os.access(command, os.X_OK):
            continue
        said = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
        version = re.search(r"version (\d+)", said)
        if version and (int(version[1]) < 23 or _runs(command, "buildx", "version")):
            return folder
    raise FearlessError("no `docker` command has BuildKit (Debian: apt-get install docker.io)")


def _runs(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True).returncode == 0


def check(*, isolated: bool = True) -> None:
    """Raise FearlessError where there can be no engine, saying what is missing."""
    if not shutil.which("dockerd"):
        raise FearlessError("dockerd is not installed (Debian: apt-get install docker.io)")
    if os.geteuid() != 0:
        raise FearlessError("dockerd needs root")
    if not isolated and Path("/sys/class/net/docker0").exists():
        raise FearlessError(
            "this machine runs a Docker engine already, and a second would delete its bridge"
        )


@contextmanager
def running(*, isolated: bool = True) -> Iterator[DockerEngine]:
    """Run dockerd with everything it writes in a temporary folder, and stop it by its process id.

    Not `isolated`, it shares the host's network, with no bridge and no firewall rules. Raises
    FearlessError where there can be no such engine.
    """
    check(isolated=isolated)
    directory = Path(tempfile.mkdtemp(prefix="docker-"))  # a socket's name: 107 characters at most
    address = directory / "docker.sock"
    dockerd = [
        *("dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false"),
        *("--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")),
        *("-H", f"unix://{address}", "-p", str(directory / "dockerd.pid")),
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
        engine = _when_ready(process, f"unix://{address}", directory)
        try:
            yield engine
        finally:
            engine.close()
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
            return DockerEngine(host, directory, process.pid)
        except (DockerException, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                said = (directory / "dockerd.log").read_text()[-1500:]
                raise FearlessError(f"dockerd did not start: {said}") from None
            time.sleep(0.05)
