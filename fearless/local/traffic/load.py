"""Traffic: a crew of shoppers at a given rate, and the audit of what was acknowledged to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from fearless.errors import FearlessError
from fearless.local.traffic.book import Book
from fearless.local.traffic.client import Client, target
from fearless.local.traffic.desk import Desk
from fearless.local.traffic.shopper import Shopper
from fearless.local.traffic.tally import Tally

RECONNECTING = 4
"""Every so many-th shopper opens a new connection for each request, as some clients do."""


class Traffic:
    """Requests against `url` at `rate` a second by `workers` customers, until stopped.

    `verify_interval` is in seconds: how often everything acknowledged so far is read back
    while the traffic runs; it always is at the end. `timeout` is a request's, in seconds.
    """

    def __init__(
        self,
        url: str,
        rate: float = 40.0,
        workers: int = 8,
        seed: int = 1,
        verify_interval: float | None = None,
        timeout: float = 10.0,
        recheck: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.url = url
        self.rate = rate
        self.workers = workers
        self.seed = seed
        self.tally = Tally(now)
        self.book = Book()
        self._target = target(url)
        self._verify_interval = verify_interval
        self._timeout = timeout
        self._recheck = recheck
        self._clock = clock
        self._now = now
        self._stop = threading.Event()

    @property
    def passed(self) -> bool:
        """No request failed, and nothing that was acknowledged is lost."""
        return self.tally.counts.failed == 0 and self.tally.counts.lost == 0

    def stop(self) -> None:
        """Send no more new requests; safe to call from a signal handler."""
        self._stop.set()

    def run(
        self,
        seconds: float | None = None,
        watch: Callable[[Tally], None] = lambda _: None,
        period: float = 1.0,
    ) -> dict[str, Any]:
        """Run, read everything back, and return the report. `watch` is called every `period`.

        Raises FearlessError when nothing that looks like a shop answers at the URL.
        """
        started = self._now()
        began = self._clock()
        stores = self._discover()
        name = started.strftime("%Y%m%d-%H%M%S-%f")[:-3]
        jobs: list[Callable[[], None]] = [
            lambda index=i: self._shop(index, stores, name)  # type: ignore[misc]
            for i in range(self.workers)
        ]
        if self._verify_interval:
            jobs.append(self._audit_now_and_then)
        with ThreadPoolExecutor(len(jobs), thread_name_prefix="traffic") as pool:
            running = [pool.submit(job) for job in jobs]
            try:
                self._watch(running, began, seconds, watch, period)
            finally:
                self._stop.set()
        for future in running:
            future.result()
        ended = self._clock()
        self._audit_all()
        return {
            "url": self.url,
            "seed": self.seed,
            "rate": self.rate,
            "workers": self.workers,
            "started": started.isoformat(timespec="milliseconds"),
            "seconds": round(ended - began, 1),
            "passed": self.passed,
            "uncertain": self.book.uncertain(),
            **self.tally.report(),
        }

    def verify(self) -> None:
        """Read back everything acknowledged so far."""
        self._audit(self._desk(0), self.book.paths())

    def _discover(self) -> list[str]:
        tally = Tally(self._now)
        client = Client(self._target, timeout=self._timeout)
        desk = Desk(client, self.book, tally, self._stop, self._clock)
        shown = desk.read("/stores", "stores")
        client.close()
        if shown is None:
            reason = tally.failures[0].reason
            raise FearlessError(f"no shop answers at {self.url}/stores: {reason}")
        stores = [store["id"] for store in shown["stores"]]
        if not stores:
            raise FearlessError(f"the shop at {self.url} has no stores to visit")
        return stores

    def _desk(self, index: int) -> Desk:
        keep_alive = index % RECONNECTING != RECONNECTING - 1
        client = Client(self._target, keep_alive, self._timeout)
        return Desk(client, self.book, self.tally, self._stop, self._clock)

    def _shop(self, index: int, stores: list[str], name: str) -> None:
        desk = self._desk(index)
        shopper = Shopper(desk, stores, name, index, self.workers, self.seed)
        mean = self.workers / self.rate
        due = self._clock() + mean * index / self.workers
        while not self._stop.wait(max(0.0, due - self._clock())):
            shopper.act()
            due = max(due, self._clock() - 1) + shopper.pause(mean)
        desk.client.close()

    def _watch(
        self,
        running: list[Future[None]],
        began: float,
        seconds: float | None,
        watch: Callable[[Tally], None],
        period: float,
    ) -> None:
        while not any(future.done() for future in running):
            left = seconds - (self._clock() - began) if seconds is not None else period
            if left <= 0 or self._stop.wait(min(period, left)):
                return
            watch(self.tally)

    def _audit_now_and_then(self) -> None:
        while not self._stop.wait(self._verify_interval):
            self.verify()

    def _audit_all(self) -> None:
        paths = self.book.paths()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="audit") as pool:
            shares = [paths[i :: self.workers] for i in range(self.workers)]
            for future in [pool.submit(self._audit, self._desk(0), share) for share in shares]:
                future.result()

    def _audit(self, desk: Desk, paths: Iterable[str]) -> None:
        """Read writes back. What is wrong twice, a little apart, is lost."""
        suspects = []
        for path in paths:
            if desk.check(path):
                suspects.append(path)
            else:
                self.tally.verified(path, None)
        if suspects:
            time.sleep(self._recheck)
        for path in suspects:
            self.tally.verified(path, desk.check(path))
        desk.client.close()
