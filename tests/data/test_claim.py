"""One worker alone may work on a part, and who lost it can never change its row again."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fearless.data.claim import Claim, settled_at
from fearless.data.copy import new_segment, segment_sk
from fearless.data.membership import LeaseLost
from fearless.data.replay import SUSPECT_RECORDS
from fearless.data.state import Outdated
from fearless.data.unit import Unit
from fearless.data.worker import Worker
from tests.data.fake import Fake
from tests.data.simulation import REKEY, Simulation

SK = segment_sk(0)


class Bench:
    """A run that is being copied, two workers of it, and a segment to claim."""

    def __init__(self, client: type[Fake] = Fake) -> None:
        simulation = self.simulation = Simulation(1, REKEY, client)
        self.world = simulation.world
        self.world.crash = self.world.lost = self.world.throttle = self.world.busy = 0.0
        for n in range(8):
            simulation.source.put({"id": {"S": f"k{n}"}, "v": {"N": "4"}})
        migration = simulation.migration()
        with migration._lease() as lease:
            migration._begin(lease)
        self.meta = migration._state.meta(migration._reader) or {}
        self.first = self.worker(seed=1)
        self.second = self.worker(seed=2)

    def worker(self, seed: int) -> Worker:
        """Processes that live side by side, and know of each other only by their rows."""
        self.simulation.rng = random.Random(seed)
        worker = self.simulation.worker()
        object.__setattr__(worker._member._owner, "sees", False)
        worker.__enter__()
        return worker

    def take(self, worker: Worker, after: Any = None, **mine: object) -> Claim | None:
        table = worker._table(Unit("copy", "t", "0"), self.meta)
        return Claim.take(table, SK, new_segment(0, 2), worker._member, after, **mine)

    def row(self) -> Any:
        (row,) = self.first._table(Unit("copy", "t", "0"), self.meta).rows(SK)
        return row


def taken(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def test_only_one_of_two_has_it() -> None:
    bench = Bench()
    taken(bench.take(bench.first))
    assert bench.take(bench.second) is None


def test_what_was_let_go_is_the_next_ones() -> None:
    bench = Bench()
    first = taken(bench.take(bench.first))
    first.put(read=3)
    first.release()
    second = taken(bench.take(bench.second, {"read": 99}))
    assert second.row["read"] == 3, "it did not fall silent"


def test_what_is_done_is_nobodys() -> None:
    bench = Bench()
    taken(bench.take(bench.first)).put(done=True, owner="")
    assert bench.take(bench.second) is None


def test_the_silent_lose_it_and_may_not_write_it_again() -> None:
    bench = Bench()
    first = taken(bench.take(bench.first))
    assert bench.take(bench.second) is None
    bench.world.now += 15
    bench.second._member.renew()
    bench.world.now += 10
    second = taken(bench.take(bench.second, {"read": 99}, pages=7))
    assert (second.row["read"], second.row["pages"]) == (99, 7)
    with pytest.raises(LeaseLost):
        first.put(read=1)
    bench.first._member._renewed = bench.world.now
    with pytest.raises((Outdated, LeaseLost)):
        first.put(read=1)
    second.put(read=100)
    assert bench.row()["read"] == 100


def test_who_claimed_at_once_with_another_has_it_or_has_not() -> None:
    bench = Bench()
    table = bench.second._table(Unit("copy", "t", "0"), bench.meta)
    usual, taken_first = table.state.replace, list[Claim]()

    def replace(*row: Any) -> Any:
        if not taken_first:
            taken_first.append(taken(bench.take(bench.first)))
        return usual(*row)

    table.state.replace = replace  # type: ignore[method-assign]
    assert bench.take(bench.second) is None
    taken_first[0].put(read=1)


def test_a_claim_that_a_pause_kept_from_being_let_go_is_taken_up_again() -> None:
    """Nobody else may take it: its owner lives. It waits for what may still land of it."""
    bench = Bench()
    first = taken(bench.take(bench.first))
    bench.world.now += 15
    with pytest.raises(LeaseLost):
        first.release()
    bench.first._member.awake()
    assert bench.take(bench.second) is None
    again = taken(bench.take(bench.first, {"suspect": SUSPECT_RECORDS}))
    assert again.row["unknown_at"] >= bench.world.now
    assert again.row["suspect"] == SUSPECT_RECORDS


def test_a_worker_goes_on_after_a_pause_shorter_than_its_lease() -> None:
    class Slow(Fake):
        pauses = 1

        def batch_write_item(self, RequestItems: Any) -> Any:
            answer = super().batch_write_item(RequestItems)
            self.world.now += 15 * self.pauses
            self.pauses = 0
            return answer

    bench = Bench(Slow)
    assert not bench.first.perform(Unit("copy", "t", "0"))
    assert bench.row()["owner"] == bench.first._member.id
    assert bench.first.perform(Unit("copy", "t", "0"))
    assert bench.row()["done"]


def test_threads_of_one_worker_do_not_take_it_twice() -> None:
    bench = Bench()
    unit, seen = Unit("copy", "t", "0"), list[bool]()
    fake = bench.simulation.fake
    usual = fake.scan

    def scan(**request: Any) -> Any:
        if not seen:
            seen.append(bench.first.perform(unit))
        return usual(**request)

    fake.scan = scan  # type: ignore[method-assign]
    assert bench.first.perform(unit)
    assert seen == [False]


def test_a_claim_for_a_run_that_went_on_meanwhile_is_let_go() -> None:
    bench = Bench()
    state = bench.first._state
    usual, asked = state.meta, list[int]()

    def meta(caller: Any) -> Any:
        found = usual(caller)
        asked.append(1)
        return {**found, "generation": 2} if found and len(asked) > 1 else found

    state.meta = meta  # type: ignore[method-assign]
    assert not bench.first.perform(Unit("copy", "t", "0"))
    row = bench.row()
    assert (row["owner"], row["read"]) == ("", 0)


def test_a_shard_that_the_coordinator_does_not_know_is_not_begun() -> None:
    bench = Bench()
    migration = bench.simulation.migration()
    migration.copy()
    assert migration.state().phase == "replay"
    assert not bench.first.perform(Unit("follow", "t", "shard-0"))


def test_unanswered_writes_are_waited_for() -> None:
    bench = Bench()
    claim = taken(bench.take(bench.first))
    claim.unknown()
    claim.put(read=1)
    rows = [bench.row(), new_segment(1, 2)]
    assert settled_at(rows, 30.0) >= bench.world.now + 29
    assert settled_at(rows[1:], 30.0) == 0.0
