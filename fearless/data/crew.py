"""A crew of one: the coordinator's own process, with a few threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from types import TracebackType

from fearless.data.unit import Unit
from fearless.data.work import Runner
from fearless.data.worker import Worker

MOMENT = 1.0
"""Seconds after which it is time to look how far everything has come."""


class Inline:
    """Performs units in `threads` threads of this process, or as `runner` does it."""

    def __init__(self, worker: Worker, threads: int, runner: Runner | None) -> None:
        self._worker = worker
        self._threads = threads
        self._runner = runner
        self._halt = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._busy: dict[Unit, Future[bool]] = {}

    def __enter__(self) -> Inline:
        self._worker.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._worker.__exit__(kind, error, trace)

    @property
    def busy(self) -> bool:
        """Whether a unit is being worked on: then offering is waiting already."""
        return bool(self._busy)

    def offer(self, units: Sequence[Unit]) -> None:
        """Begin those not in hand; returns when all have ended, or after a moment."""
        if self._runner is not None:
            self._runner([partial(self._worker.perform, unit) for unit in units], self._halt)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "data")
        for unit in units:
            if unit not in self._busy:
                self._busy[unit] = self._pool.submit(self._worker.perform, unit)
        ended, _ = wait(self._busy.values(), MOMENT, FIRST_EXCEPTION)
        self._busy = {unit: future for unit, future in self._busy.items() if future not in ended}
        for future in ended:
            future.result()
