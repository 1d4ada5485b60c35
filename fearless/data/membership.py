"""A worker's place in a run: its sign of life, and how the silent are declared dead.

Leases stop a paused worker from checkpointing, not from writing. So before each request it asks
`guard` whether its own lease, by a clock that counts sleep, still covers the request; and who takes
its work over first makes its row a ghost, which says when its last request can have been sent.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.calls import Caller
from fearless.data.holder import Pulse
from fearless.data.state import Outdated, Row, StateTable
from fearless.errors import FearlessError
from fearless.owner import Owner

PREFIX = "WORKER#"
ROUNDING = 1.0
"""Seconds by which two readings of the server's clock may differ: its dates have whole seconds."""

_ORDERLY = (Exception, KeyboardInterrupt, SystemExit)
"""What ends a `with` block of a process that is not killed there."""


class LeaseLost(FearlessError):
    """Our lease ran out (a long pause) or was taken over; nothing more may be written."""


class Halted(FearlessError):
    """Somebody asked to stop, or another part failed."""


@dataclass
class _Watch:
    """How often a worker had given a sign of life, and when we first saw that number."""

    counter: int
    since: float


class Membership:
    """One worker's row while in a `with` block. All times in seconds.

    `wall` is the server's clock. `budget` is how long one request may take. `beat` is called at
    each renewal, and may raise nothing.
    """

    def __init__(
        self,
        state: StateTable,
        duration: float,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        sleep: Callable[[float], None],
        owner: Owner,
        heartbeat: bool = True,
        budget: float = 12.0,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = uuid.uuid4().hex if heartbeat else owner.id
        self._state = state
        self._duration = duration
        self._budget = min(budget, duration / 3)
        self._clock = clock
        self._wall = wall
        self._owner = owner
        self._heartbeat = heartbeat
        self._after = beat
        self._caller = Caller(lambda: None, lambda: None, clock, sleep, patience=duration / 2)
        self._lock = threading.RLock()
        self._pulse = Pulse("lease", duration / 5, self._sign, LeaseLost)
        self._renewed = float("-inf")
        self._counter = 0
        self._lost = threading.Event()
        self._abandoned = False
        self._watched: dict[str, _Watch] = {}

    def __enter__(self) -> Membership:
        now = self._clock()
        if self._state.replace(self._caller, 0, PREFIX + self.id, self._row(), None) is None:
            raise FearlessError(f"a worker named {self.id} takes part in this run already")
        self._renewed = now
        if self._heartbeat:
            self._pulse.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pulse.stop()
        killed = kind is not None and not issubclass(kind, _ORDERLY)
        if killed or self._abandoned:
            return
        with contextlib.suppress(FearlessError, ClientError, BotoCoreError):
            self._state.delete(self._caller, 0, PREFIX + self.id, claim=1)

    def abandon(self) -> None:
        """Do not leave in good order: something we hold could not be let go."""
        self._abandoned = True

    @property
    def lost(self) -> bool:
        """Whether this worker was given up by another."""
        return self._lost.is_set()

    def guard(self) -> None:
        """Raise LeaseLost unless a request sent now is certain to be answered within the lease."""
        if self._lost.is_set():
            raise LeaseLost("another worker has taken over what this one was doing")
        left = self._renewed + self._duration - self._clock()
        if left < self._budget:
            raise LeaseLost(
                "this worker's lease was not renewed in time (was this process paused, or did the "
                "state table not answer?): run it again"
            )
        if left < self._duration * 2 / 3:
            self.renew()

    def awake(self) -> None:
        """Renew a lease that is not fresh, or was left to run out by a pause. Raises LeaseLost."""
        if self._renewed + self._duration * 2 / 3 < self._clock():
            self.renew()

    def renew(self) -> None:
        """Give a sign of life. Raises LeaseLost when we were declared dead."""
        with self._lock:
            now = self._clock()
            self._counter += 1
            try:
                self._state.put(self._caller, 0, 1, PREFIX + self.id, self._row())
            except Outdated:
                self._lost.set()
                raise LeaseLost("this worker was silent for too long and was given up") from None
            self._renewed = now

    def gone(self, worker: str) -> bool:
        """Whether that worker will begin no request any more, which makes its work ours to take.

        True when it has left, when its process on this machine has ended, or when it gave no sign
        of life for a whole lease; the latter two leave a ghost. Does not wait: ask again later.
        """
        row = self._state.row(self._caller, 0, PREFIX + worker)
        if row is None or row["ghost"]:
            return True
        if not self._owner.dead(row):
            seen = self._watched.setdefault(worker, _Watch(int(row["counter"]), self._clock()))
            if seen.counter != int(row["counter"]):
                self._watched[worker] = _Watch(int(row["counter"]), self._clock())
                return False
            if self._clock() - seen.since <= float(row["duration"]):
                return False
        ghost = {**row, "ghost": True, "ghost_at": _seconds(self._wall())}
        return self._state.replace(self._caller, 0, row["sk"], ghost, int(row["v"])) is not None

    def _row(self) -> Row:
        return {
            **self._owner.fields(),
            "owner": self.id,
            "duration": int(self._duration) + 1,
            "counter": self._counter,
            "ghost": False,
            "ghost_at": 0,
        }

    def _sign(self) -> None:
        self.renew()
        self._after()


def workers(state: StateTable, caller: Caller) -> list[Row]:
    """The rows of every worker that has not left, ghosts among them."""
    return state.rows(caller, 0, PREFIX)


def quiet_at(ghosts: list[Row], zombie: float) -> float:
    """The server's time after which no request of any of these ghosts can land any more."""
    ends = [float(row["ghost_at"]) + zombie + ROUNDING for row in ghosts if row["ghost"]]
    return max(ends, default=0.0)


def _seconds(moment: float) -> Any:
    """A moment as a row holds it: whole seconds, rounded up."""
    return int(moment) + 1
