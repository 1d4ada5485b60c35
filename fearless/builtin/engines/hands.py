"""Who performs a crew's units: a process of its own, or threads of this one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any, Protocol

from fearless.data.job import Job
from fearless.data.pipe import encode, frozen, named
from fearless.data.shift import Shift
from fearless.data.unit import Unit

WORDS = 20
"""How many of a process's last lines are kept, to explain its end."""


@dataclass(frozen=True)
class Terms:
    """What everybody is hired for: `hire` is `package.module:function`, called with the job.

    `threads` units at once in each process; a unit may take `grace` seconds to end when told to.
    """

    job: Job
    hire: str
    threads: int
    grace: float


@dataclass(frozen=True)
class Staff:
    """How many are hired, and how patiently. Times in seconds.

    This process does the work itself for `patience`; with no processes at all, for good. One
    that is told to leave may take `grace`. A unit in whose hands `attempts` processes died is
    taken for what kills them.
    """

    processes: int
    threads: int = 8
    patience: float = 0.0
    silence: float = 30.0
    grace: float = 60.0
    attempts: int = 3


Tell = Callable[["Hand", dict[str, Any]], None]
"""What a hand says. Its last word is `gone`: an exit code, and `words`. For any thread."""


class Hand(Protocol):
    """Somebody who performs units. `units` are those given and not answered, by number.

    `room` is how many it takes at once; `quiet` for how many ticks it has not said anything.
    """

    units: dict[int, Unit]
    room: int
    ready: bool
    quiet: int
    mortal: bool

    def give(self, number: int, unit: Unit) -> None:
        """Perform it."""

    def leave(self) -> None:
        """Finish soon, and go."""

    def kill(self) -> None:
        """Go now. Does nothing to one that cannot be killed."""

    def renew(self, credentials: Mapping[str, Any]) -> None:
        """Sign with these from now on."""


class Inline:
    """Threads of this process: nothing to start, nothing to kill."""

    mortal = False

    def __init__(self, terms: Terms, room: int, tell: Tell) -> None:
        self.units: dict[int, Unit] = {}
        self.room = room
        self.ready = True
        self.quiet = 0
        self._tell = tell
        self._shift = Shift(
            lambda job: named(terms.hire)(job), terms.job, room, lambda said: tell(self, said)
        )
        self._thread = threading.Thread(target=self._run, name="inline", daemon=True)
        self._thread.start()

    def give(self, number: int, unit: Unit) -> None:
        """Perform it."""
        self.units[number] = unit
        self._shift.give(number, unit)

    def leave(self) -> None:
        """Finish soon."""
        self._shift.leave()

    def kill(self) -> None:
        """A thread cannot be killed."""

    def renew(self, credentials: Mapping[str, Any]) -> None:
        """The credentials are this process's own."""

    def _run(self) -> None:
        self._shift.run()
        self._tell(self, {"gone": 0, "words": ""})


class Child:
    """A process of its own, in a session of its own: Ctrl-C is for whoever hired it to act on."""

    mortal = True

    def __init__(self, terms: Terms, tell: Tell) -> None:
        self.units: dict[int, Unit] = {}
        self.room = terms.threads
        self.ready = False
        self.quiet = 0
        self._tell = tell
        self._greeted = threading.Event()
        self._words: deque[str] = deque(maxlen=WORDS)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fearless.data.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._listener = threading.Thread(target=self._listen, args=(_hello(terms),), daemon=True)
        self._hearer = threading.Thread(target=self._hear, daemon=True)
        self._listener.start()
        self._hearer.start()

    def give(self, number: int, unit: Unit) -> None:
        """Perform it."""
        self.units[number] = unit
        self._say({"unit": asdict(unit), "number": number})

    def leave(self) -> None:
        """Finish soon, and go; at once, when it was not told yet what it was hired for."""
        if self._greeted.is_set():
            self._say({"stop": True})
        else:
            self.kill()

    def kill(self) -> None:
        """Go now, and when stopped by a signal, too."""
        if self._process.poll() is None:
            self._process.kill()

    def renew(self, credentials: Mapping[str, Any]) -> None:
        """Sign with these from now on."""
        if self._greeted.is_set():
            self._say({"credentials": credentials})

    def _say(self, message: Mapping[str, Any]) -> None:
        self._write(encode(message))

    def _write(self, line: bytes) -> None:
        """Orders are short and few, so a pipe takes them all, even of one who does not listen."""
        orders = self._pipe(self._process.stdin)
        with contextlib.suppress(OSError, ValueError):
            orders.write(line)
            orders.flush()

    def _listen(self, hello: bytes) -> None:
        self._write(hello)
        self._greeted.set()
        for line in self._pipe(self._process.stdout):
            self._tell(self, json.loads(line))
        code = self._process.wait()
        self._hearer.join(1)
        with contextlib.suppress(OSError):
            self._pipe(self._process.stdin).close()
        self._tell(self, {"gone": code, "words": self._words[-1] if self._words else ""})

    def _hear(self) -> None:
        for line in self._pipe(self._process.stderr):
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                self._words.append(text)
                self._tell(self, {"says": text})

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise RuntimeError("every end of a worker process is a pipe")
        return pipe


def _hello(terms: Terms) -> bytes:
    return encode(
        {
            "job": terms.job.to_json(),
            "hire": terms.hire,
            "threads": terms.threads,
            "grace": terms.grace,
            "path": [os.path.abspath(entry) for entry in sys.path],  # noqa: PTH100  "" is here
            "credentials": frozen(terms.job.credentials),
        }
    )
