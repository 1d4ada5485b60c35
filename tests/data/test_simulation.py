"""The rules of copy and replay under thousands of bad days, and each rule broken on purpose."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fearless.data import apply as apply_module
from fearless.data import copying, replay, worker
from fearless.data import reconcile as reconcile_module
from fearless.data.apply import Window
from fearless.data.claim import Claim
from fearless.data.items import Item
from fearless.data.lineage import Lineage
from fearless.data.membership import Membership
from fearless.data.position import Gap
from fearless.data.replay import Replay
from fearless.data.state import StateTable
from fearless.data.touched import DIRTY, SUSPECTS
from fearless.data.worker import Worker
from fearless.errors import FearlessError
from fearless.interfaces import Transform
from tests.data.fake import Crash, Fake, failure
from tests.data.simulation import FRAGILE, KEEP, REKEY, Hard, Simulation, Unrepaired

KINDS = pytest.mark.parametrize("transform", [KEEP, REKEY, FRAGILE], ids=lambda t: t.name)


@pytest.fixture(autouse=True, scope="module")
def _rarely() -> Iterator[None]:
    """Thousands of small runs: garbage is looked for rarely over all of them, not in each."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    yield
    gc.set_threshold(*before)


def outcomes(
    seeds: range, transform: Transform, kind: type[Simulation] = Simulation, **options: Any
) -> list[str]:
    wrong = []
    for seed in seeds:
        simulation = kind(seed, transform, **options)
        simulation.run()
        if problem := simulation.wrong():
            wrong.append(f"seed {seed}: {problem}")
    return wrong


@KINDS
def test_no_wrong_end_state(transform: Transform) -> None:
    assert outcomes(range(450), transform) == []


@KINDS
def test_no_wrong_end_state_of_paused_processes(transform: Transform) -> None:
    assert outcomes(range(25), transform, paused=True) == []


@KINDS
def test_no_wrong_end_state_of_processes_that_die_while_writing(transform: Transform) -> None:
    assert outcomes(range(1000, 1015), transform, Hard) == []


def test_verify_agrees_at_the_end() -> None:
    for seed in range(60):
        simulation = Simulation(seed, REKEY, paused=seed % 4 == 0)
        simulation.run()
        assert simulation.verdict().clean, seed


def test_gaps_are_noticed_and_copied_over() -> None:
    copied_again = 0
    for seed in range(100):
        simulation = Simulation(seed, REKEY, paused=seed % 8 == 0)
        simulation.gaps = 2
        simulation.run()
        assert not simulation.wrong(), seed
        meta = simulation.fake.tables["state"].items.values()
        copied_again += any(int(m["generation"]["N"]) > 1 for m in meta if "generation" in m)
    assert copied_again > 15


def caught(kind: type[Simulation] = Simulation, seeds: int = 400, **options: Any) -> bool:
    for seed in range(seeds):
        simulation = kind(seed, REKEY, **options)
        simulation.run()
        if simulation.wrong():
            return True
    return False


def test_caught_position_fixed_after_the_scan() -> None:
    class Late(Fake):
        """What a shard held when it was first asked for is never seen."""

        def get_shard_iterator(self, **request: Any) -> Any:
            shard = self._stream(request["StreamArn"]).find(request["ShardId"])
            if shard.parent is None:
                self.first.setdefault(shard.id, len(shard.records))
                shard.trimmed = self.first[shard.id]
            return super().get_shard_iterator(**request)

        def __init__(self, *world: Any) -> None:
            super().__init__(*world)
            self.first: dict[str, int] = {}

    assert caught(client=Late)


def test_caught_scan_that_is_not_consistent() -> None:
    class Stale(Fake):
        def scan(self, **request: Any) -> Any:
            return super().scan(**{**request, "ConsistentRead": False})

    # What the stale page missed happened before P0: it is in the stream only as old records.
    assert caught(client=Stale)


def test_caught_new_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    original = apply_module.difference

    def only_new(table: Any, lane: Any, held: Any) -> Any:
        lane.states = lane.states[-1:]
        return original(table, lane, held)

    monkeypatch.setattr(apply_module, "difference", only_new)
    assert caught()


def test_caught_coalescing_first_old_and_last_new(monkeypatch: pytest.MonkeyPatch) -> None:
    original = apply_module.difference

    def ends(table: Any, lane: Any, held: Any) -> Any:
        lane.states = [lane.states[0], lane.states[-1]]
        return original(table, lane, held)

    monkeypatch.setattr(apply_module, "difference", ends)
    assert caught()


def test_caught_checkpoint_ahead_of_the_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Replay._window

    def ahead(self: Replay, records: Any) -> Any:
        self._claim.put(checkpoint=records[-1]["dynamodb"]["SequenceNumber"])
        return original(self, records)

    monkeypatch.setattr(Replay, "_window", ahead)
    monkeypatch.setattr(replay, "SUSPECT_RECORDS", 0)
    assert caught()


def test_caught_child_before_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    def runnable(self: Lineage) -> list[str]:
        return [row["shard"] for row in self.shards.values() if not row["done"]]

    monkeypatch.setattr(Lineage, "runnable", runnable)
    monkeypatch.setattr(Worker, "_due", lambda *_: True)
    assert caught()


def test_a_worker_never_takes_a_child_before_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is told: units may come late, from an earlier copy."""

    def runnable(self: Lineage) -> list[str]:
        return [row["shard"] for row in self.shards.values() if not row["done"]]

    monkeypatch.setattr(Lineage, "runnable", runnable)
    assert outcomes(range(60), REKEY) == []


def test_caught_records_of_one_key_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    original = worker.apply_difference

    def parallel(table: Any, caller: Any, window: Window) -> Any:
        touched: list[Any] = []
        steps = [
            replace(window, lanes=[replace(lane, states=list(pair))])
            for lane in window.lanes
            for pair in zip(lane.states, lane.states[1:], strict=False)
        ]
        for step in reversed(steps):
            touched += original(table, caller, step)
        return touched

    monkeypatch.setattr(worker, "apply_difference", parallel)
    assert caught()


def test_caught_suspects_that_nobody_looks_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    original = replay.keep

    def no_suspects(table: Any, caller: Any, prefix: str, *more: Any, **options: Any) -> Any:
        return [] if prefix == SUSPECTS else original(table, caller, prefix, *more, **options)

    monkeypatch.setattr(replay, "keep", no_suspects)
    assert caught(Hard)


class Dying(Fake):
    """On demand, a process dies while its batch is under way; it lands 85 s later."""

    dying = False

    def batch_write_item(self, RequestItems: Any) -> Any:
        if not self.dying:
            return super().batch_write_item(RequestItems)
        self.dying = False
        self.world.landing.append((self.world.now + 85, lambda: self._land(RequestItems)))
        self.world.dead = True
        raise Crash

    def _land(self, items: Any) -> None:
        super().batch_write_item(items)


def quiet(client: type[Fake], **options: Any) -> Any:
    """A run in which nothing goes wrong of itself."""
    simulation = Simulation(1, REKEY, client, late=90.0, **options)
    world = simulation.world
    world.crash = world.lost = world.throttle = world.busy = 0.0
    return simulation


def interrupted_repair() -> str:
    """What is wrong after a repair died in the middle, and its item changed before it landed."""
    simulation = quiet(Dying)
    simulation.source.put({"id": {"S": "k1"}, "v": {"N": "5"}})
    simulation.migration().copy()
    simulation.migration().follow()
    simulation.target.delete({"id": {"S": "k1#1"}})
    simulation.fake.dying = True
    with pytest.raises(Crash):
        simulation.migration().repair()
    simulation.source.put({"id": {"S": "k1"}, "v": {"N": "6"}})
    simulation.drain()
    return simulation.wrong()


def test_a_repair_that_died_in_the_middle_is_looked_at_again() -> None:
    assert not interrupted_repair()


def test_caught_repairing_without_a_note_of_what_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconcile_module, "keep", lambda *_: [])
    assert "k1#1" in interrupted_repair()


def test_caught_claims_that_anybody_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    def grab(cls: Any, table: Any, sk: str, new: Any, member: Any, *_: Any, **mine: Any) -> Any:
        place = f"T#{table.name}#{sk}"
        row = table.state.row(table.reader, table.generation, place)
        if (row or new)["done"]:
            return None
        seen, row = row and row["v"], {**(row or new), **mine, "owner": member.id}
        return cls(
            table, place, replace(table.state, table.reader, table.generation, place, row, seen)
        )

    def put(self: Any, caller: Any, generation: int, claim: int, sk: str, row: Any) -> None:
        full = {**row, "pk": self._partition(generation), "sk": sk, "v": claim << 40}
        caller.write(self._client.put_item, TableName=self._table, Item=Item.of(full).typed)

    def replace(self: Any, caller: Any, generation: int, sk: str, row: Any, seen: Any) -> Any:
        claim = ((seen or 0) >> 40) + 1
        put(self, caller, generation, claim, sk, row)
        return {**row, "v": claim << 40}

    monkeypatch.setattr(Claim, "take", classmethod(grab))
    monkeypatch.setattr(StateTable, "put", put)
    monkeypatch.setattr(StateTable, "replace", replace)
    assert caught(Unrepaired)


def interrupted_copy(**options: Any) -> str:
    """What is wrong after a copy died in the middle, and its item changed before it landed."""
    simulation = quiet(Dying, **options)
    simulation.source.put({"id": {"S": "k1"}, "v": {"N": "5"}})
    simulation.fake.dying = True
    with pytest.raises(Crash):
        simulation.migration().copy()
    simulation.source.put({"id": {"S": "k1"}, "v": {"N": "6"}})
    simulation.drain()
    return simulation.wrong()


def test_a_copy_that_died_in_the_middle_is_waited_for() -> None:
    assert not interrupted_copy()


def test_caught_not_waiting_for_the_requests_of_the_dead() -> None:
    assert "k1#1" in interrupted_copy(z=0.0)


def test_caught_taking_over_without_making_a_ghost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The barrier knows of it twice, by the ghost and by the row that was taken over."""
    original = Membership.gone

    def gone(self: Membership, worker: str) -> bool:
        if not original(self, worker):
            return False
        self._state.delete(self._caller, 0, f"WORKER#{worker}")
        return True

    monkeypatch.setattr(Membership, "gone", gone)
    monkeypatch.setattr(copying, "settled_at", lambda *_: 0.0)
    assert "k1#1" in interrupted_copy()


class Sleeping(Fake):
    """On demand, a process stops before its batch is sent, for as long as `others` take."""

    others: Any = None

    def batch_write_item(self, RequestItems: Any) -> Any:
        if self.others is None:
            return super().batch_write_item(RequestItems)
        others, self.others = self.others, None
        self.world.depth += 1
        others()
        self.world.depth -= 1
        raise failure("InvalidSignatureException", message="Signature expired")


def paused_copy() -> str:
    """What is wrong after a copy stopped in the middle, and others copied and followed."""
    simulation = quiet(Sleeping)

    def others() -> None:
        simulation.source.put({"id": {"S": "k1"}, "v": {"N": "6"}})
        simulation.migration().copy()
        assert simulation.migration().follow().phase == "replay"

    simulation.source.put({"id": {"S": "k1"}, "v": {"N": "5"}})
    simulation.fake.others = others
    with contextlib.suppress(FearlessError):
        simulation.migration().copy()
    simulation.drain()
    return simulation.wrong()


def test_a_copy_that_was_paused_writes_nothing_more() -> None:
    assert not paused_copy()


def test_caught_going_on_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not ask whether its lease still covers a request writes what is long outdated."""
    monkeypatch.setattr(Membership, "guard", lambda self: None)
    assert "k1#1" in paused_copy()


def test_caught_copy_after_the_barrier(monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaky(Simulation):
        """A segment that was read before the barrier is written after the replay."""

        early: tuple[Any, ...] = ()

        def run(self) -> None:
            super().run()
            for item in self.early:
                self.target.put(item)

        def migration(self, back: bool = False) -> Any:
            migration = super().migration(back)
            original = migration.copy

            def copy() -> Any:
                state = original()
                self.early = self.early or tuple(dict(i) for i in self.target.items.values())
                return state

            migration.copy = copy  # type: ignore[method-assign]
            return migration

    wrong = 0
    for seed in range(40):
        simulation = Leaky(seed, REKEY)
        simulation.run()
        wrong += bool(simulation.wrong())
    assert wrong > 5


def test_caught_going_on_after_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Replay._open

    def fresh(self: Replay) -> str:
        """Trimmed? Take a fresh iterator and go on, as the tools do that lose data."""
        try:
            return original(self)
        except Gap:
            self._claim.row["checkpoint"] = ""
            return original(self)

    class Forgetful(Simulation):
        def gap(self) -> None:
            self.gaps -= 1
            for shard in self.source.shards:
                shard.trimmed = len(shard.records)

    monkeypatch.setattr(Replay, "_open", fresh)
    wrong = 0
    for seed in range(400):
        simulation = Forgetful(seed, REKEY)
        simulation.gaps = 3
        simulation.run()
        if simulation.wrong():
            wrong += 1
            break
    assert wrong


class Compared(Simulation):
    """Equal by digests; then changes come and are applied, one of them wrongly."""

    def run(self) -> None:
        self.world.crash = self.world.lost = self.world.busy = 0.0
        self.migration().copy()
        self.migration().follow()
        assert self.migration().verify().clean
        self.source.put({"id": {"S": "k1"}, "v": {"N": "77"}})
        self.migration().follow()
        self.migration().drain()

    def spoil(self) -> None:
        """What was touched since is not what it should be."""
        for item in list(self.target.items.values()):
            if item["id"]["S"].startswith("k1"):
                self.target.delete(item)


def test_what_changed_since_the_last_comparison_is_compared_under_the_fence() -> None:
    simulation = Compared(1, REKEY)
    simulation.run()
    assert simulation.migration().verify(still=True).clean
    simulation.spoil()
    assert not simulation.migration().verify(still=True).clean


def test_caught_no_list_of_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = replay.keep

    def no_list(table: Any, caller: Any, prefix: str, *more: Any, **options: Any) -> Any:
        return [] if prefix.startswith(DIRTY) else original(table, caller, prefix, *more, **options)

    monkeypatch.setattr(replay, "keep", no_list)
    simulation = Compared(1, REKEY)
    simulation.run()
    simulation.spoil()
    assert simulation.migration().verify(still=True).clean, "nothing was compared"
