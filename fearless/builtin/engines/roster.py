"""What one `fearless worker` has joined: a worker for each crew whose orders reach it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fearless.builtin.engines.broker import Closing
from fearless.builtin.engines.celery import CREW
from fearless.data.calls import Caller
from fearless.data.job import Job
from fearless.data.membership import LeaseLost
from fearless.data.shift import Performer
from fearless.data.state import Outdated, StateTable
from fearless.data.unit import Unit
from fearless.data.worker import FAILURES
from fearless.errors import FearlessError
from fearless.owner import boottime

WATCH = 1.0
"""Seconds between two looks at whether a crew still stands."""
Key = tuple[str, str, str]


class _Hired:
    """A worker that has joined, and how many units it has in hand. It leaves after the last."""

    def __init__(self, worker: Performer) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._busy = 1
        worker.__enter__()

    def perform(self, unit: Unit) -> bool:
        """Perform a unit; False when it has left."""
        with self._lock:
            if not self._busy:
                return False
            self._busy += 1
        try:
            return self._worker.perform(unit)
        finally:
            self.release()

    def stop(self) -> None:
        """Units in hand end soon."""
        self._worker.stop()

    def release(self) -> None:
        """One unit less in hand, or the roster lets it go."""
        with self._lock:
            self._busy -= 1
            last = not self._busy
        if last:
            self._worker.__exit__(None, None, None)


class Roster:
    """Performs orders as a worker of the crew that sent them. For any number of threads.

    `state` is a client of where state tables are; `hire` makes the worker of a job.
    """

    def __init__(
        self,
        state: Any,
        hire: Callable[[Job], Performer],
        sleep: Callable[[float], None],
    ) -> None:
        self._client = state
        self._hire = hire
        self._caller = Caller(lambda: None, lambda: None, boottime, sleep, patience=30.0)
        self._lock = threading.Lock()
        self._hired: dict[Key, _Hired] = {}
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="roster", daemon=True)
        self._watcher.start()

    def perform(self, order: Mapping[str, Any]) -> bool:
        """Perform the order's unit. False when it is not finished, or the crew is no more."""
        if self._closing.is_set():
            raise Closing("this worker is about to end")
        unit = Unit(**order["unit"])
        key = (str(order["state"]), str(order["run"]), str(order["crew"]))
        try:
            hired = self._join(key)
        except FearlessError as error:
            self._remember(key, unit, error)
            raise
        if hired is None:
            return False
        try:
            return hired.perform(unit)
        except (LeaseLost, Outdated):
            self._dismiss(key)
            return False

    def stop(self) -> None:
        """Begin nothing more; what was begun ends soon. For any thread, and signal handlers."""
        self._closing.set()
        for hired in list(self._hired.values()):
            hired.stop()

    def close(self) -> None:
        """Leave every run. Call it when nothing is performed any more."""
        self.stop()
        self._watcher.join()
        for key in list(self._hired):
            self._dismiss(key)

    def _join(self, key: Key) -> _Hired | None:
        with self._lock:
            if key not in self._hired:
                row = self._row(key)
                if row is None:
                    return None
                self._hired[key] = _Hired(self._hire(Job.of_json(row["job"])))
            return self._hired[key]

    def _dismiss(self, key: Key) -> None:
        with self._lock:
            hired = self._hired.pop(key, None)
        if hired is not None:
            hired.stop()
            hired.release()

    def _remember(self, key: Key, unit: Unit, error: FearlessError) -> None:
        """Tell the coordinator why nobody here can join: it reads such rows."""
        state = StateTable(self._client, key[0], key[1])
        sk = f"{FAILURES}join#{unit.table}"
        row = {"kind": type(error).__name__, "message": str(error.args[0]), "unit": unit.to_json()}
        old = state.row(self._caller, 0, sk)
        state.replace(self._caller, 0, sk, row, int(old["v"]) if old else None)

    def _row(self, key: Key) -> dict[str, Any] | None:
        table, run, crew = key
        return StateTable(self._client, table, run).row(self._caller, 0, CREW + crew)

    def _watch(self) -> None:
        while not self._closing.wait(WATCH):
            for key in list(self._hired):
                with contextlib.suppress(FearlessError, ClientError, BotoCoreError):
                    if self._row(key) is None:
                        self._dismiss(key)
