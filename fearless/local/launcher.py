"""Start and stop the daemon of a directory, however many commands ask at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

from fearless.errors import FearlessError
from fearless.interfaces import Report
from fearless.local import process
from fearless.local.directory import Directory, Running
from fearless.local.endpoint import Endpoint
from fearless.local.sockets import is_free

START_SECONDS = 90.0
STOP_SECONDS = 120.0
ATTEMPTS = 5


def start(directory: Directory, domain: str, port: int, report: Report) -> Running:
    """The daemon, started unless it runs; returns when it answers.

    Raises FearlessError with its last words when it does not. Two callers get the same one.
    """
    running = Running.read(directory)
    if running is not None and Endpoint(running.emulator).answers():
        return running
    with directory.locked("cloud"):
        running = _answering(directory)
        if running is not None:
            return running
        report.line("starting the embedded cloud")
        running = _started(directory, domain, port, report)
        report.line(f"the embedded cloud runs: http://localhost:{running.port}")
        return running


def _started(directory: Directory, domain: str, preferred: int, report: Report) -> Running:
    """Start it; once more when somebody took its port between our look and its own."""
    for left in reversed(range(ATTEMPTS)):
        directory.record.unlink(missing_ok=True)
        port = _public_port(directory, preferred, report)
        child = _spawn(directory, domain, port)
        try:
            return _wait(directory, child)
        except FearlessError:
            if not left or child.poll() is None or is_free(port):
                raise
    raise AssertionError


def _public_port(directory: Directory, preferred: int, report: Report) -> int:
    emulator = directory.emulator_port()
    if not is_free(emulator) and not process.marked(directory.root):
        directory.move_port("emulator")
    port = directory.public_port(preferred)
    if not is_free(port) and not process.marked(directory.root):
        directory.move_port("public")
        taken, port = port, directory.public_port(preferred)
        report.line(f"port {taken} is taken by another program, using {port}")
    return port


def _spawn(directory: Directory, domain: str, port: int) -> subprocess.Popen[bytes]:
    directory.prepare()
    log = directory.logs / "daemon.log"
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "fearless.local.daemon", str(directory.root)),
                *("--domain", domain, "--port", str(port)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory.root,
            env={k: v for k, v in os.environ.items() if k != process.MARK},
            start_new_session=True,
        )


def _answering(directory: Directory) -> Running | None:
    """The daemon there is, once it answers; None when there is none, or it ends."""
    deadline = time.monotonic() + START_SECONDS
    while (running := Running.read(directory)) is not None:
        if Endpoint(running.emulator).answers():
            return running
        if time.monotonic() > deadline:
            raise FearlessError(
                f"the embedded cloud (pid {running.process.pid}) runs and does not answer: look at "
                f"{directory.logs / 'daemon.log'}, then `kill {running.process.pid}`"
            )
        time.sleep(0.05)
    return None


def _wait(directory: Directory, child: subprocess.Popen[bytes]) -> Running:
    deadline = time.monotonic() + START_SECONDS
    while True:
        running = Running.read(directory)
        if running is not None and Endpoint(running.emulator).answers():
            return running
        ended = child.poll() is not None
        if ended or time.monotonic() > deadline:
            if not ended:
                process.stop(child, 10)
            log = directory.logs / "daemon.log"
            said = " / ".join(process.tail(log, 3)) or "it said nothing"
            how = "did not start" if ended else f"did not answer within {START_SECONDS:.0f} s"
            raise FearlessError(f"the embedded cloud {how}: {said} (see {log})")
        time.sleep(0.05)


def stop(directory: Directory) -> bool:
    """Stop the daemon and wait until the state is saved; False when it does not run."""
    with directory.locked("cloud"):
        running = Running.read(directory)
        if running is None:
            return False
        os.kill(running.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running.process.alive():
            if time.monotonic() > deadline:
                raise FearlessError(
                    f"the embedded cloud (pid {running.process.pid}) is still stopping after "
                    f"{STOP_SECONDS:.0f} s: look at {directory.logs / 'daemon.log'}; "
                    "`kill -9` loses everything since it started"
                )
            time.sleep(0.05)
        return True


def reset(directory: Directory) -> None:
    """Stop the daemon and delete everything the embedded cloud keeps."""
    stop(directory)
    with directory.locked("cloud"):
        process.clear(process.marked(directory.root), 10)
        for name in ("emulator", "instances", "registry", "deployed", "amis", "rootfs", "logs"):
            shutil.rmtree(directory.root / name, ignore_errors=True)
        for path in (
            directory.record,
            directory.status,
            directory.children,
            directory.seeded,
            directory.root / "ports.json",
        ):
            path.unlink(missing_ok=True)
