"""Starts a build's process, hears what it says, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fearless.builtin.farm.message import Order

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
Event = Mapping[str, Any]


class Running(Protocol):
    """A build that goes on. Events are as `job` describes them."""

    def event(self, timeout: float) -> Event | None:
        """The next thing it says; None when it says nothing for so long."""

    def kill(self) -> None:
        """End it, here and in the engine, at any time. Returns when its process is gone."""


class Runner(Protocol):
    """Starts builds."""

    def start(self, order: Order, url: str, slot: Path) -> Running:
        """Begin a build of the repository at `url` in the folder `slot`."""


class Processes:
    """Starts each build as a process of this Python, for the project at `root`.

    Copies of repositories are kept in `mirrors`.
    """

    def __init__(self, root: Path, mirrors: Path) -> None:
        self._root = root
        self._mirrors = mirrors

    def start(self, order: Order, url: str, slot: Path) -> Process:
        """Begin."""
        job = {
            "order": order.body(),
            "root": str(self._root),
            "slot": str(slot),
            "mirrors": str(self._mirrors),
            "url": url,
        }
        return Process([sys.executable, "-m", "fearless.builtin.farm.job"], json.dumps(job))


class Process:
    """A process that says JSON lines. Whatever it began in its process group ends with it."""

    def __init__(self, argv: list[str], job: str) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once, and the reader says so
            self._process.stdin.write(job + "\n")
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def event(self, timeout: float) -> Event | None:
        """The next thing it says; that it ended without an answer is one, too."""
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def kill(self) -> None:
        """SIGTERM, then SIGKILL; its connection to the engine breaks, and the engine gives up."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(GRACE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        answered = False
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            answered = answered or "line" not in event
            self._events.put(event)
        code = self._process.wait()
        if not answered:
            text = f"the build's process ended with {code} and without an answer"
            self._events.put({"failed": text, "again": True})
