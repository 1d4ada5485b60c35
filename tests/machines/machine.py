"""A whole machine: Debian with systemd and Docker, booted by systemd-nspawn in its own network.

Its network is loopback alone: what is tested reaches it through its network namespace, and it
reaches nothing. Needs root, mmdebstrap and systemd-nspawn; without them tests are skipped, with
CI=true they fail.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest

PROGRAMS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "nsenter": ""}
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo"),
    *("docker.io", "curl", "iptables", "apparmor"),
)
ADMIN = """
useradd --root "$1" --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD:ALL' >"$1/etc/sudoers.d/admin"
for unit in e2scrub_reap.service systemd-timesyncd.service console-getty.service; do
  ln -sf /dev/null "$1/etc/systemd/system/$unit"
done
"""
"""Who logs in on Debian's own machine images, and what only real hardware needs."""

CGROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
_CLONE_NEWNET = 0x40000000


def need() -> None:
    """Skip, or in CI fail, where no machine can be made."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        packages = ", ".join(filter(None, (PROGRAMS[program] for program in missing)))
        _without(f"{', '.join(missing)} are not installed (Debian: {packages})")
    if os.geteuid() != 0:
        _without("systemd-nspawn needs root")


def _without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must be able to boot a machine: {reason}")
    pytest.skip(reason)


def make_root(root: Path) -> None:
    """Install Debian into `root`: the machine image that a bake starts from."""
    log = root.parent / "mmdebstrap.log"
    with log.open("w") as output:
        made = subprocess.run(
            [
                *("mmdebstrap", "--variant=minbase", "--dpkgopt=force-unsafe-io"),
                *(
                    "--dpkgopt=path-exclude=/usr/share/doc/*",
                    "--dpkgopt=path-exclude=/usr/share/man/*",
                ),
                f"--include={','.join(PACKAGES)}",
                f"--customize-hook={ADMIN}",
                *("bookworm", str(root)),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert made.returncode == 0, log.read_text()[-1500:]


@contextmanager
def disk(directory: Path) -> Iterator[Path]:
    """A disk in memory: what it holds is used for seconds, and gone at once."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "machines", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


class Machine:
    """A machine that was started; `console` is a file with all it wrote there."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self.process = process
        self.console = console

    @property
    def leader(self) -> int:
        """Its process 1."""
        found: list[str] = []

        def there() -> bool:
            assert self.process.poll() is None, self.said()[-1500:]
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            found[:] = children.read_text().split()
            return bool(found)

        until(there, "systemd-nspawn starts its machine")
        return int(found[0])

    def said(self) -> str:
        """All that is on its console."""
        return self.console.read_text(errors="replace")

    def run(self, *argv: str) -> str:
        """Run a program inside; what it said."""
        done = subprocess.run(
            ["nsenter", "--target", str(self.leader), "--all", "--", *argv],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    def connect(self, port: int) -> socket.socket:
        """A connection to a port of its loopback: a socket stays in the network it was made in."""
        leader, result = self.leader, list[socket.socket | OSError]()

        def inside() -> None:
            try:
                with Path(f"/proc/{leader}/ns/net").open() as network:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(network.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                result.append(socket.create_connection(("127.0.0.1", port), 10))
            except OSError as error:
                result.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if isinstance(result[0], OSError):
            raise result[0]
        return result[0]

    def get(self, port: int, path: str) -> tuple[int, bytes]:
        """What its port answers to GET."""
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.sock = self.connect(port)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()

    @contextmanager
    def forwarded(self, port: int) -> Iterator[int]:
        """A port of this machine's loopback that leads to that port inside."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=_forward, args=(server, lambda: self.connect(port)))
            thread.start()
            try:
                yield server.getsockname()[1]
            finally:
                server.shutdown(socket.SHUT_RDWR)
                thread.join()

    def stop(self) -> None:
        """Shut it down in good order."""
        with suppress(ProcessLookupError):
            os.kill(self.leader, signal.SIGRTMIN + 4)
        self.process.wait(60)

    def kill(self) -> None:
        """Pull the plug."""
        if self.process.poll() is None:
            os.kill(self.leader, signal.SIGKILL)
            self.process.wait(60)


@contextmanager
def booted(root: Path, console: Path) -> Iterator[Machine]:
    """Boot it without any network, for the time of the `with` block."""
    name = f"fearless-{os.getpid()}-{time.monotonic_ns()}"
    groups = [Path(group) / name for group in CGROUPS if Path(group).is_dir()]
    for group in groups or [Path("/sys/fs/cgroup") / name]:
        group.mkdir(exist_ok=True)
    enter = "".join(f"echo $$ >{group}/cgroup.procs; " for group in groups)
    nspawn = [
        *("systemd-nspawn", "--quiet", "--boot", f"--directory={root}", f"--machine={name}"),
        *("--register=no", "--keep-unit", "--private-network", "--console=read-only"),
        *("--capability=all", "--system-call-filter=add_key keyctl bpf"),
    ]
    with console.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", f'{enter}exec "$@"', "sh", *nspawn],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    machine = Machine(process, console)
    try:
        yield machine
    finally:
        machine.kill()
        for group in groups:
            for path in sorted(group.rglob("*/"), reverse=True):
                if path.is_dir():
                    path.rmdir()
            group.rmdir()


def until(there: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for it; an assertion says what did not happen."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def _forward(server: socket.socket, connect: Callable[[], socket.socket]) -> None:
    with suppress(OSError):
        while True:
            near, _ = server.accept()
            try:
                far = connect()
            except OSError:
                near.close()
                continue
            for ends in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
