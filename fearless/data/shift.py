"""A worker at work in one process: some units at once, until it is told to leave."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from fearless.data.job import Job
from fearless.data.membership import Halted, LeaseLost
from fearless.data.pipe import told
from fearless.data.state import Outdated
from fearless.data.unit import Unit

Say = Callable[[dict[str, Any]], None]


class Performer(Protocol):
    """What a shift needs of a worker; performs several units at once."""

    def perform(self, unit: Unit) -> bool:
        """True when the part is finished, False when it is not and somebody must go on."""

    def stop(self) -> None:
        """Make `perform` return soon, with everything checkpointed."""

    def __enter__(self) -> Performer:
        """Join the run."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave it."""


Hire = Callable[[Job], Performer]


class Shift:
    """Performs the units it is given in `threads` threads, and says how each of them ended.

    It says `ready` once the worker has joined; `done` or `failed` with the unit's number; `lost`
    when the run gave the worker up for dead, upon which it leaves; `failed` without a number when
    the worker cannot join.
    """

    def __init__(self, hire: Hire, job: Job, threads: int, say: Say) -> None:
        self._hire = hire
        self._job = job
        self._threads = threads
        self._say = say
        self._units: queue.SimpleQueue[tuple[int, Unit] | None] = queue.SimpleQueue()
        self._end: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._leaving = False

    def give(self, number: int, unit: Unit) -> None:
        """Perform it, when a thread is free."""
        self._units.put((number, unit))

    def leave(self) -> None:
        """Finish what was begun as soon as can be, and end. For any thread, and any signal."""
        self._end.put(None)

    def run(self, grace: float | None = None) -> bool:
        """Work until told to leave. False when a unit did not end within `grace` seconds."""
        try:
            with self._hire(self._job) as worker:
                return self._run(worker, grace)
        except Exception as error:  # noqa: BLE001  the edge of a process: it is told, not lost
            self._say({"failed": None, "error": told(error)})
            return True

    def _run(self, worker: Performer, grace: float | None) -> bool:
        threads = [
            threading.Thread(target=self._perform, args=(worker,), name="unit", daemon=True)
            for _ in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        self._say({"ready": True})
        self._end.get()
        self._leaving = True
        worker.stop()
        for _ in threads:
            self._units.put(None)
        for thread in threads:
            thread.join(grace)
        return not any(thread.is_alive() for thread in threads)

    def _perform(self, worker: Performer) -> None:
        while (given := self._units.get()) is not None:
            number, unit = given
            if self._leaving:
                continue
            try:
                finished = worker.perform(unit)
            except Halted:
                self._say({"done": number, "finished": False})
            except (LeaseLost, Outdated) as lost:
                self._say({"lost": str(lost.args[0])})
                self.leave()
            except Exception as error:  # noqa: BLE001  the edge of a process: it is told, not lost
                self._say({"failed": number, "error": told(error)})
            else:
                self._say({"done": number, "finished": bool(finished)})
