"""A build's process: what it says is heard, and it ends when it must, with all it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fearless.builtin.farm.message import Order, key
from fearless.builtin.farm.runner import Event, Process, Processes
from tests.builtin.farm.given import OPTIONS, until
from tests.images import SHA


def python(code: str) -> Process:
    return Process([sys.executable, "-c", code], "{}")


def events(process: Process) -> list[Event]:
    found: list[Event] = []
    while not found or "line" in found[-1]:
        event = process.event(20)
        assert event is not None, found
        found.append(event)
    process.kill()
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_it_is_heard() -> None:
    code = "import json; print('noise'); print(json.dumps({'line': 'é'})); print('{\"image\": 1}')"
    assert events(python(code)) == [{"line": "é"}, {"image": 1}]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(7)", "ended with 7"),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
    ],
)
def test_one_that_ends_without_an_answer_is_bad_luck(code: str, said: str) -> None:
    (event,) = events(python(code))
    assert event["again"] is True
    assert said in event["failed"]


def test_nothing_is_said_for_a_while() -> None:
    process = python("import time; time.sleep(60)")
    began = time.monotonic()
    assert process.event(0.2) is None
    assert time.monotonic() - began < 5
    process.kill()
    process.kill()


def test_all_it_started_ends_with_it() -> None:
    code = (
        "import json, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(json.dumps({'line': child.pid}), flush=True)\n"
        "time.sleep(60)\n"
    )
    process = python(code)
    event = process.event(20)
    assert event is not None
    process.kill()
    until(lambda: gone(int(event["line"])), "the end of its child")


def test_it_ends_when_its_worker_is_killed(tmp_path: Path) -> None:
    """The real job, whose worker is killed while it waits for a repository's lock."""
    mirrors = tmp_path / "mirrors"
    parent = (
        "import sys, json, subprocess, time\n"
        "process = subprocess.Popen([sys.executable, '-m', 'fearless.builtin.farm.job'],\n"
        "    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)\n"
        "process.stdin.write(sys.argv[1] + '\\n'); process.stdin.flush()\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    pipe = tmp_path / "release.toml"
    os.mkfifo(pipe)  # opening it to read waits for a writer
    order = Order(
        id=f"{key('shop', SHA, OPTIONS)}.1",
        repository="shop",
        ref="main",
        sha=SHA,
        options=OPTIONS,
    )
    job = {"order": order.body(), "root": str(tmp_path), "slot": str(tmp_path / "slot")}
    job |= {"mirrors": str(mirrors), "url": "/nowhere"}
    worker = subprocess.Popen(
        [sys.executable, "-c", parent, json.dumps(job)], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    writer = until(lambda: _writer(pipe), "a job that reads")
    try:
        assert not gone(pid)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        until(lambda: gone(pid), "the end of the job")
    finally:
        os.close(writer)
        worker.stdout.close()


def _writer(pipe: Path) -> int | None:
    """The pipe opened to write, which works once somebody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def test_a_real_job_says_what_is_wrong(tmp_path: Path) -> None:
    order = Order(
        id=f"{key('shop', SHA, OPTIONS)}.1",
        repository="shop",
        ref="main",
        sha=SHA,
        options=OPTIONS,
    )
    running = Processes(tmp_path, tmp_path / "mirrors").start(order, "/nowhere", tmp_path / "slot")
    (event,) = events(running)
    said = "release.toml: not found; run `fearless init` in the app's repository"
    said = f"the worker's own project: {tmp_path}/{said}"
    assert event == {"failed": said, "again": True}
