"""The pace against a server of a known capacity, and the waits of those who share it."""

from __future__ import annotations

import math
import random
import threading

import pytest

from fearless.data.rate import Pace, Rate


class Server:
    """Takes `capacity` units a second, a tenth of a second's worth at once."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.tokens = 0.0
        self.now = 0.0
        self.accepted = 0

    def take(self, now: float, units: int) -> int:
        """How many of the units are refused."""
        more = (now - self.now) * self.capacity
        self.tokens, self.now = min(self.tokens + more, self.capacity / 10 + 1), now
        done = min(units, int(self.tokens))
        self.tokens -= done
        self.accepted += done
        return units - done


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Crowd:
    """`lanes` senders of batches; each waits for the pace, and then `latency` for the answer."""

    def __init__(self, server: Server, batch: int, lanes: int, partial: bool, seed: int) -> None:
        self.server = server
        self.batch = batch
        self.partial = partial
        self.rng = random.Random(seed)
        self.pace = Pace(0.0)
        self.free = [0.0] * lanes
        self.now = 0.0
        self.refused = 0

    def run(self, seconds: float) -> float:
        """The share of the capacity that was used meanwhile."""
        begin, accepted = self.now, self.server.accepted
        while self.now < begin + seconds:
            lane = min(range(len(self.free)), key=self.free.__getitem__)
            self.now = max(self.now, self.free[lane])
            wait = self.pace.take(self.now, self.batch)
            if wait > 0.0:
                self.free[lane] = self.now + min(wait, 1.0) * self.rng.uniform(1.0, 1.05)
                continue
            refused = self.server.take(self.now, self.batch)
            self.free[lane] = self.now + self.rng.uniform(0.002, 0.006)
            if refused and not self.partial:
                self.server.accepted -= self.batch - refused
                self.server.tokens += self.batch - refused
                refused = self.batch
            self.refused += refused
            if refused:
                self.pace.throttled(self.now, refused / self.batch)
                self.free[lane] += self.rng.uniform(0.01, 0.05)
        return (self.server.accepted - accepted) / ((self.now - begin) * self.server.capacity)


@pytest.mark.parametrize("capacity", [10, 100, 2_000])
@pytest.mark.parametrize("partial", [True, False])
def test_it_converges_to_the_capacity(capacity: int, partial: bool) -> None:
    batch = 25 if capacity > 100 else 1
    crowd = Crowd(Server(capacity), batch, 8, partial, capacity)
    crowd.run(20)
    assert 0.7 <= crowd.run(120) <= 1.01


def test_it_follows_when_the_capacity_doubles_and_halves() -> None:
    crowd = Crowd(Server(1_000), 25, 8, True, 3)
    crowd.run(30)
    crowd.server.capacity = 2_000
    crowd.run(30)
    assert crowd.run(60) >= 0.7
    crowd.server.capacity = 500
    crowd.run(10)
    assert crowd.run(60) >= 0.7
    assert crowd.pace.rate(crowd.now) < 1_000


def test_few_requests_are_refused_once_it_has_settled() -> None:
    crowd = Crowd(Server(1_000), 25, 8, True, 4)
    crowd.run(30)
    before = crowd.refused
    used = crowd.run(60)
    assert crowd.refused - before < 0.05 * used * 1_000 * 60


def test_it_never_starves() -> None:
    pace, now = Pace(0.0), 0.0
    for _ in range(1_000):
        now += 0.1
        if not pace.take(now, 1):
            pace.throttled(now, 1.0)
    assert pace.rate(now) >= 1.0
    sent = 0
    for _ in range(1_000):
        now += 0.1
        sent += not pace.take(now, 1)
    assert sent >= 90


def test_nothing_is_limited_before_the_first_throttle() -> None:
    pace = Pace(0.0)
    assert all(pace.take(n / 1000, 25) == 0.0 for n in range(1, 3_000))
    assert pace.rate(3.0) == math.inf
    pace.throttled(3.0, 1.0)
    assert pace.rate(3.0) == pytest.approx(12_500, rel=0.02)


def test_unprocessed_items_count_in_proportion_and_only_once_a_second() -> None:
    pace = Pace(0.0)
    for n in range(1, 2_001):
        pace.take(n / 1000, 1)
    pace.throttled(2.0, 1.0)
    start = pace.rate(2.0)
    for n in range(2_001, 6_000):
        pace.take(n / 1000, 1)
    before = pace.rate(6.0)
    assert start < before
    pace.throttled(6.0, 5 / 25)
    assert pace.rate(6.0) == pytest.approx(before * 0.9)
    pace.throttled(6.1, 2 / 25)
    assert pace.rate(6.1) == pytest.approx(before * 0.9)
    pace.throttled(6.2, 1.0)
    pace.throttled(6.3, 1.0)
    assert pace.rate(6.3) == pytest.approx(before * 0.5)


def test_what_is_not_used_does_not_grow_without_end() -> None:
    pace, now = Pace(0.0), 0.0
    for n in range(1, 1_001):
        pace.take(n / 1000, 1)
    pace.throttled(1.0, 1.0)
    now = 1.0
    for _ in range(3_000):
        now += 0.1
        pace.take(now, 1)
    assert pace.rate(now) <= 1_000


def test_the_bound_is_shared_by_the_workers() -> None:
    clock, workers = Clock(), [2]
    rate = Rate(clock, clock.sleep, most=100.0, workers=lambda: workers[0])
    assert rate.rate == 50.0
    began = clock.now
    for _ in range(40):
        rate.acquire(25, lambda: None)
    assert 1_000 / (clock.now - began) == pytest.approx(50, rel=0.1)
    workers[0] = 4
    assert rate.rate == 25.0
    workers[0] = 0
    assert rate.rate == 100.0


def test_a_pause_blocks_until_it_is_lifted_and_the_guard_ends_it() -> None:
    clock, paused, guards = Clock(), [True], [0]

    def guard() -> None:
        guards[0] += 1
        if guards[0] == 5:
            paused[0] = False
        if guards[0] == 20:
            raise RuntimeError("the lease is lost")

    rate = Rate(clock, clock.sleep, paused=lambda: paused[0])
    began = clock.now
    rate.acquire(0, guard)
    assert guards[0] == 5
    assert clock.now - began == 5.0
    paused[0] = True
    with pytest.raises(RuntimeError, match="the lease is lost"):
        rate.acquire(25, guard)


def test_threads_share_one_pace() -> None:
    lock, clock = threading.Lock(), Clock()

    def sleep(seconds: float) -> None:
        with lock:
            clock.now += seconds / 4

    rate = Rate(clock, sleep, most=1_000.0)
    began, done = clock.now, []

    def work() -> None:
        for _ in range(50):
            rate.acquire(10, lambda: None)
            done.append(10)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(done) == 2_000
    assert sum(done) / (clock.now - began) <= 1_100
