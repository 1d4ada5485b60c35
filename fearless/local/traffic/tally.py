"""What happened, counted: requests, failures, paused writes, lost writes."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

SHOWN = 1000
"""How many failures and lost writes are kept in detail; all are counted."""


@dataclass(frozen=True)
class Failure:
    """A request a customer would have complained about. `at` is UTC."""

    at: str
    method: str
    path: str
    reason: str


@dataclass
class Pauses:
    """Writes that were told to wait: how many, the longest wait, the first and the last."""

    count: int = 0
    longest_ms: int = 0
    first: str | None = None
    last: str | None = None
    abandoned: int = 0


@dataclass
class Counts:
    """The numbers of a run so far."""

    requests: int = 0
    reads: int = 0
    writes: int = 0
    failed: int = 0
    lost: int = 0
    stale: int = 0
    verified: int = 0
    reconnects: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)


class Tally:
    """Counts for all workers. `now` gives the time of day."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._latencies = array("f")
        self._lost_paths: set[str] = set()
        self.counts = Counts()
        self.pauses = Pauses()
        self.failures: list[Failure] = []
        self.lost: list[Failure] = []
        self.releases: dict[str, str] = {}

    def answered(self, method: str, status: int, seconds: float, release: str | None) -> None:
        """A request was answered, well or not."""
        with self._lock:
            self._count(method)
            self.counts.statuses[status] = self.counts.statuses.get(status, 0) + 1
            self._latencies.append(seconds)
            if release and release not in self.releases:
                self.releases[release] = self._time()

    def unanswered(self, method: str) -> None:
        """A request got no answer."""
        with self._lock:
            self._count(method)

    def failed(self, method: str, path: str, reason: str) -> None:
        """A customer saw an error."""
        with self._lock:
            self.counts.failed += 1
            if len(self.failures) < SHOWN:
                self.failures.append(Failure(self._time(), method, path, reason))

    def acknowledged(self, what: str) -> None:
        """A write was acknowledged: `placed`, `changed`, `deleted` or `priced`."""
        with self._lock:
            self.counts.acknowledged[what] = self.counts.acknowledged.get(what, 0) + 1

    def wait_began(self) -> None:
        """A write was told to wait."""
        with self._lock:
            self.pauses.count += 1
            self.pauses.last = self._time()
            self.pauses.first = self.pauses.first or self.pauses.last

    def wait_ended(self, seconds: float, abandoned: bool = False) -> None:
        """It was taken after so long, or given up because the run ended."""
        with self._lock:
            self.pauses.longest_ms = max(self.pauses.longest_ms, round(seconds * 1000))
            self.pauses.last = self._time()
            self.pauses.abandoned += abandoned

    def stale(self) -> None:
        """A read showed something else than what was acknowledged; an audit says if for good."""
        with self._lock:
            self.counts.stale += 1

    def verified(self, path: str, wrong: str | None) -> None:
        """An acknowledged write was read back; `wrong` says how it is lost."""
        with self._lock:
            self.counts.verified += 1
            if wrong and path not in self._lost_paths:
                self._lost_paths.add(path)
                self.counts.lost += 1
                if len(self.lost) < SHOWN:
                    self.lost.append(Failure(self._time(), "GET", path, wrong))

    def reconnected(self, times: int) -> None:
        """Kept connections were found closed and opened again."""
        with self._lock:
            self.counts.reconnects += times

    def line(self) -> str:
        """The run so far, in one line."""
        with self._lock:
            counts = self.counts
            text = (
                f"{counts.requests:,} requests ({counts.reads:,} reads, {counts.writes:,} writes), "
                f"{counts.failed:,} failed, {counts.lost:,} lost"
            )
            if self.pauses.count:
                text += (
                    f", {self.pauses.count:,} writes paused (longest {self.pauses.longest_ms} ms)"
                )
            return f"{text}, {list(self.releases)[-1]}" if self.releases else text

    def report(self) -> dict[str, Any]:
        """Everything, for a JSON file."""
        with self._lock:
            ordered = sorted(self._latencies)
            return {
                **asdict(self.counts),
                "paused": asdict(self.pauses),
                "latency_ms": {
                    "p50": _percentile(ordered, 0.50),
                    "p95": _percentile(ordered, 0.95),
                    "p99": _percentile(ordered, 0.99),
                    "max": _percentile(ordered, 1.0),
                },
                "releases": dict(self.releases),
                "failures": [asdict(failure) for failure in self.failures],
                "lost_writes": [asdict(lost) for lost in self.lost],
            }

    def _count(self, method: str) -> None:
        self.counts.requests += 1
        if method == "GET":
            self.counts.reads += 1
        else:
            self.counts.writes += 1

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")


def _percentile(ordered: list[float], share: float) -> float:
    if not ordered:
        return 0.0
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000, 1)
