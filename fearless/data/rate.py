"""How fast a process may go: as fast as the tables take it, and no faster than it is allowed to.

Nothing is limited until a table throttles. Then the rate starts at half of what got through, grows
by 5 % a second, and is halved again at each throttle, at most once a second.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from fearless.data.membership import Halted

CUT = 0.5
GROWTH = 0.05
SECOND = 1.0
BURST = 0.25
LEAST = 50.0
"""Units a second that are always allowed: below that, backing off alone does."""
USED = 2.0
SHORTEST = 0.001


class Pace:
    """The rule itself, in units (items) per second: no clock, no locks, no waiting.

    Every `now` is in seconds, and may never go back.
    """

    def __init__(self, now: float, bound: float = math.inf) -> None:
        self._now = now
        self._bound = bound
        self._rate = math.inf
        self._ceiling = 0.0
        self._before = math.inf
        self._second = float("-inf")
        self._refused_at = float("-inf")
        self._tokens = 0.0
        self._meter = _Meter(now)

    def rate(self, now: float) -> float:
        """What is allowed now; infinite before the first throttle and without a bound."""
        self._advance(now)
        return min(self._rate, self._bound)

    def bound(self, now: float, most: float) -> None:
        """From now on never go over `most`."""
        self._advance(now)
        self._bound = max(most, 0.01)

    def take(self, now: float, units: int) -> float:
        """Take `units` and return 0, or return the seconds to wait before asking again.

        Whoever finds anything left takes all it needs; the next one waits the longer.
        """
        rate = self.rate(now)
        if rate < math.inf:
            if self._tokens < 0.0:
                return max(-self._tokens / rate, SHORTEST)
            self._tokens -= units
        self._meter.add(now, units)
        return 0.0

    def throttled(self, now: float, share: float) -> None:
        """A share (from 0 to 1) of a request was not taken: cut by half of that share.

        Of several cuts within a second only the deepest counts.
        """
        self._advance(now)
        if share <= 0.0:
            return
        if now - self._second >= SECOND:
            self._second = now
            self._before = min(self._rate, self._bound)
            if now - self._refused_at > 2 * SECOND:
                self._ceiling = self._before
        self._refused_at = now
        self._tokens = min(self._tokens, 0.0)
        if self._rate == math.inf:
            measured = max(LEAST, self._meter.rate(now))
            self._before = self._ceiling = self._rate = min(self._bound, measured)
        self._rate = min(self._rate, max(LEAST, self._before * (1.0 - CUT * share)))

    def _advance(self, now: float) -> None:
        elapsed, since = now - self._now, self._now
        if elapsed <= 0.0:
            return
        self._now = now
        if self._rate < math.inf:
            quiet = now - max(since, self._refused_at + SECOND)
            if quiet > 0.0:
                grown = self._rate + GROWTH * max(self._rate, self._ceiling) * quiet
                most = max(self._ceiling, USED * self._meter.rate(now), self._rate)
                self._rate = min(grown, most)
        rate = min(self._rate, self._bound)
        if rate < math.inf:
            self._tokens = min(self._tokens + rate * elapsed, rate * BURST)


class Rate:
    """A pace that threads share: the `Brake` of every `Caller` of a process.

    `most` is the limit of all workers together, in units per second (None: as much as the tables
    take); `workers` says how many there are, `paused` whether somebody wants all of them to wait:
    both are asked often, and must only look something up.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        most: float | None = None,
        workers: Callable[[], int] = lambda: 1,
        paused: Callable[[], bool] = lambda: False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._most = most
        self._workers = workers
        self._paused = paused
        self._stopped = stopped
        self._lock = threading.Lock()
        self._pace = Pace(clock())
        self.throttles = 0

    @property
    def rate(self) -> float:
        """Units per second this process may do at the moment; infinite when nothing limits it."""
        with self._lock:
            return self._bounded().rate(self._clock())

    def acquire(self, writes: int, guard: Callable[[], None]) -> None:
        """Return when so many more may be sent; 0 waits only while the run is paused.

        While it waits, `guard` is called at least once a second; what it raises ends the wait.
        """
        while True:
            wait = SECOND if self._paused() else self._take(writes)
            if wait <= 0.0:
                return
            guard()
            if self._stopped():
                raise Halted("stopped while waiting for the tables, or for the run to be resumed")
            self._sleep(min(wait, SECOND))

    def throttled(self, share: float = 1.0) -> None:
        """A request, or this share of it, was refused for lack of capacity."""
        with self._lock:
            self.throttles += 1
            self._bounded().throttled(self._clock(), min(share, 1.0))

    def _take(self, units: int) -> float:
        if units <= 0:
            return 0.0
        with self._lock:
            return self._bounded().take(self._clock(), units)

    def _bounded(self) -> Pace:
        if self._most is not None:
            self._pace.bound(self._clock(), self._most / max(1, self._workers()))
        return self._pace


class _Meter:
    """Units per second over the last one to two seconds."""

    def __init__(self, now: float) -> None:
        self._start = now
        self._count = 0.0
        self._last: float | None = None

    def add(self, now: float, units: float) -> None:
        self._roll(now)
        self._count += units

    def rate(self, now: float) -> float:
        self._roll(now)
        elapsed = now - self._start
        if self._last is None:
            return self._count / max(elapsed, 0.01)
        share = min(1.0, elapsed)
        return self._last * (1.0 - share) + self._count

    def _roll(self, now: float) -> None:
        elapsed = now - self._start
        if elapsed >= SECOND:
            self._last = self._count if elapsed < 2 * SECOND else 0.0
            self._start, self._count = now - elapsed % SECOND, 0.0
