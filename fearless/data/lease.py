"""One coordinator of a run at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.calls import Caller
from fearless.data.holder import Pulse, wait_for_expiry
from fearless.data.membership import LeaseLost
from fearless.data.state import Row, StateTable
from fearless.errors import FearlessError
from fearless.interfaces import Report
from fearless.owner import Owner, boottime


class Lease:
    """Holds the run while in a `with` block. All times in seconds.

    `duration` is how long the lease holds without renewal, `budget` how long one request may take.
    """

    def __init__(
        self,
        state: StateTable,
        report: Report,
        *,
        duration: float = 40.0,
        budget: float = 12.0,
        clock: Callable[[], float] = boottime,
        sleep: Callable[[float], None] = time.sleep,
        owner: Owner | None = None,
        heartbeat: bool = True,
    ) -> None:
        self._state = state
        self._report = report
        self._duration = duration
        self._budget = min(budget, duration / 3)
        self._clock = clock
        self._sleep = sleep
        self._owner = owner or Owner.me()
        self._heartbeat = heartbeat
        self._lock = threading.RLock()
        self._pulse = Pulse("lease", duration / 5, lambda: self.update({}), LeaseLost)
        self._renewed = float("-inf")
        self._raw = Caller(lambda: None, lambda: None, clock, sleep, patience=duration / 2)
        self.meta: Row = {}
        self.stopped = threading.Event()

    @property
    def epoch(self) -> int:
        """Grows with every owner."""
        return int(self.meta["epoch"])

    def __enter__(self) -> Lease:
        self._acquire()
        if self._heartbeat:
            self._pulse.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def guard(self) -> None:
        """Raise unless a request sent now is certain to be answered within the lease."""
        if self.stopped.is_set():
            raise LeaseLost("another process has taken this run over")
        left = self._renewed + self._duration - self._clock()
        if left < self._budget:
            raise LeaseLost(
                "the run's lease was not renewed in time (was this process paused, or did the "
                "state table not answer?): run it again"
            )
        if left < self._duration * 2 / 3:
            self.update({})

    def update(self, changes: Row) -> None:
        """Change the run's META row; this also renews the lease. Raises LeaseLost."""
        with self._lock:
            now = self._clock()
            meta = {**self.meta, **changes, "version": int(self.meta["version"]) + 1}
            if not self._state.put_meta(self._raw, meta, int(self.meta["version"])):
                self.stopped.set()
                raise LeaseLost("another process has taken this run over")
            self.meta, self._renewed = meta, now

    def _acquire(self) -> None:
        while True:
            meta = self._state.meta(self._raw)
            if meta is None:
                meta = {"phase": "none", "generation": 0, "epoch": 0, "version": 0, "owner": ""}
                if self._take(meta, None):
                    return
            elif not meta["owner"]:
                if self._take(meta, int(meta["version"])):
                    return
            else:
                silent = meta if self._owner.dead(meta) else self._wait_for_expiry(meta)
                if silent and self._take(silent, int(silent["version"])):
                    return

    def _wait_for_expiry(self, meta: Row) -> Row | None:
        who = f"process {meta['pid']} on {meta['host']}"
        return wait_for_expiry(
            meta,
            lambda: self._state.meta(self._raw),
            "duration",
            self._report,
            self._clock,
            self._sleep,
            f"the run is held by {who}",
            lambda row: (
                f"process {row['pid']} on {row['host']} is working on this data run since "
                f"{row['since']}: wait for it, or stop it"
            ),
        )

    def _take(self, meta: Row, seen: int | None) -> bool:
        now = self._clock()
        mine: dict[str, Any] = {
            **self._owner.fields(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            "duration": int(self._duration) + 1,
            "epoch": int(meta["epoch"]) + 1,
            "version": int(meta["version"]) + 1,
        }
        if not self._state.put_meta(self._raw, {**meta, **mine}, seen):
            return False
        self.meta, self._renewed = {**meta, **mine}, now
        return True

    def _release(self) -> None:
        self._pulse.stop()
        with contextlib.suppress(FearlessError, ClientError, BotoCoreError):
            if not self.stopped.is_set():
                self.update({"owner": ""})
