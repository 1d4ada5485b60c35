"""Processes that cannot be mistaken for others and cannot outlive the daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MARK = "FEARLESS_CLOUD"
"""Set in the environment of every child to the cloud's directory, so that none is lost."""

GUARD = """\
import ctypes, os, sys
parent, signal, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal)
if os.getppid() != parent:
    sys.exit("the process that wanted this is gone")
try:
    os.execvp(argv[0], argv)
except OSError as error:
    sys.exit(f"cannot run {argv[0]}: {error.strerror}")
"""
"""Asks the kernel for a signal when the parent dies (PR_SET_PDEATHSIG), then becomes argv."""


@dataclass(frozen=True)
class Identity:
    """A process, told apart from a later one with the same pid by when it started."""

    pid: int
    start: str

    def alive(self) -> bool:
        """True while exactly this process runs (a zombie does not)."""
        return bool(self.start) and started(self.pid) == self.start


def started(pid: int) -> str:
    """When the process started, as a string to compare; empty when there is no such process."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
        return "" if stat[0] in "ZX" else f"{boot}/{stat[19]}"
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, start = answer.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else start.strip()


def identify(pid: int) -> Identity:
    """The process that has this pid now."""
    return Identity(pid, started(pid))


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    directory: Path,
    cwd: Path | None = None,
    death_signal: int = signal.SIGKILL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in its own session, its output appended to `log`.

    It gets `death_signal` when this thread ends, so call from a thread that lives as long as
    the daemon. `directory` marks the child in its environment.
    """
    guarded = [sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid()), str(int(death_signal))]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [*guarded, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**env, MARK: str(directory)},
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
        )


def signal_group(pid: int, number: int) -> None:
    """Signal every process of the child's session leader group; nothing if all are gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def stop(child: subprocess.Popen[bytes], seconds: float, number: int = signal.SIGTERM) -> None:
    """Ask the child to stop, wait `seconds`, then kill what is left of its group."""
    if child.poll() is None:
        signal_group(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
    signal_group(child.pid, signal.SIGKILL)
    child.wait()


def marked(directory: Path) -> list[Identity]:
    """Every process started for the cloud in `directory`, however deep. Linux only."""
    if sys.platform != "linux":
        return []
    wanted = f"{MARK}={directory}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(identify(int(entry.name)))
    return [process for process in found if process.start]


def clear(processes: Iterable[Identity], seconds: float) -> list[Identity]:
    """End these processes: SIGTERM, up to `seconds` to obey, SIGKILL; returns those ended."""
    leftover = [process for process in processes if process.alive()]
    for process in leftover:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(process.alive() for process in leftover) and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in leftover:
        if process.alive():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    return leftover


def tail(log: Path, lines: int = 5, size: int = 8192) -> list[str]:
    """The last non-empty lines of a log; none when there is no such file."""
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - size))
        text = _decoded(file)
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _decoded(file: IO[bytes]) -> str:
    return file.read().decode("utf-8", "replace")
