"""Runs packer: what it says goes to a log, and it is never left running."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fearless.builtin.packer import command
from fearless.errors import FearlessError
from fearless.interfaces import Report
from fearless.local.process import GUARD

GRACE = 300
"""Seconds packer may take to undo what it began: an instance takes minutes to be gone."""

LOOK = 0.2
"""Seconds between two looks at what packer said."""


class PackerFailed(FearlessError):
    """packer did not bake; the message has its last error, and where the rest is."""


def find(name: str = "packer") -> tuple[str, command.Version]:
    """The packer on the PATH and its version; FearlessError saying what to install."""
    path = shutil.which(name)
    if path is None:
        raise FearlessError(f"there is no packer here: {command.INSTALL}")
    try:
        said = subprocess.run(
            [path, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FearlessError(f"{path} cannot be run ({error}): {command.INSTALL}") from error
    return path, command.version(said.stdout)


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    report: Report,
    timeout: float,
    grace: float = GRACE,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run packer to its end, appending what it says to `log`.

    Raises PackerFailed when it fails or takes longer than `timeout` seconds. It is asked to
    undo what it began then, also when this process is interrupted or killed: of its processes,
    the first one hands SIGTERM on to the one that does the work. SIGINT it only ignores.
    """
    guarded = [sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid()), str(int(signal.SIGTERM))]
    deadline = clock() + timeout
    begin = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output, log.open("rb") as reader:
        reader.seek(begin)
        child = subprocess.Popen(
            [*guarded, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
        )
        try:
            while not _ended(child, LOOK):
                _tell(reader.read(), report)
                if clock() > deadline:
                    raise PackerFailed(
                        f"packer took longer than {timeout:g} s: raise `[ami] timeout` (log: {log})"
                    )
        finally:
            _end(child, grace)
        _tell(reader.read(), report)
        reader.seek(begin)
        said = reader.read().decode("utf-8", "replace")
    if child.returncode != 0:
        raise PackerFailed(f"packer: {command.failure(said)} (log: {log})")


def _ended(child: subprocess.Popen[bytes], seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        child.wait(seconds)
    return child.poll() is not None


def _tell(said: bytes, report: Report) -> None:
    for line in said.decode("utf-8", "replace").splitlines():
        if line.strip():
            report.progress("packer", 0, None, line.strip())


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """Ask it to undo what it began; kill whatever of its processes is left after `grace`."""
    try:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            _ended(child, grace)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
