"""The rules of copy and replay under thousands of bad days, and each rule broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from fearless.data import apply as apply_module
from fearless.data import engine, replay
from fearless.data.position import Gap
from fearless.data.replay import Follower, Shard
from fearless.interfaces import Transform
from tests.data.fake import Fake
from tests.data.simulation import FRAGILE, KEEP, REKEY, Simulation


def outcomes(seeds: range, transform: Transform, **options: Any) -> list[str]:
    wrong = []
    for seed in seeds:
        simulation = Simulation(seed, transform, **options)
        simulation.run()
        if problem := simulation.wrong():
            wrong.append(f"seed {seed}: {problem}")
    return wrong


@pytest.mark.parametrize("transform", [KEEP, REKEY, FRAGILE], ids=lambda t: t.name)
def test_no_wrong_end_state(transform: Transform) -> None:
    assert outcomes(range(700), transform) == []


def test_verify_agrees_at_the_end() -> None:
    for seed in range(60):
        simulation = Simulation(seed, REKEY)
        simulation.run()
        assert simulation.verdict().clean, seed


def test_gaps_are_noticed_and_copied_over() -> None:
    copied_again = 0
    for seed in range(400):
        simulation = Simulation(seed, REKEY)
        simulation.gaps = 2
        simulation.run()
        assert not simulation.wrong(), seed
        meta = simulation.fake.tables["state"].items.values()
        copied_again += any(int(m["generation"]["N"]) > 1 for m in meta if "generation" in m)
    assert copied_again > 60


def caught(transform: Transform = REKEY, seeds: range = range(400), **options: Any) -> bool:
    for seed in seeds:
        simulation = Simulation(seed, transform, **options)
        simulation.run()
        if simulation.wrong():
            return True
    return False


def test_caught_position_fixed_after_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Fake):
        def get_shard_iterator(self, **request: Any) -> Any:
            if request["ShardIteratorType"] == "TRIM_HORIZON":
                request["ShardIteratorType"] = "LATEST"
            return super().get_shard_iterator(**request)

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
    original = replay.apply
    current: list[tuple[Follower, Shard]] = []
    window = Follower._window

    def remember(self: Follower, shard: Shard) -> int:
        current[:] = [(self, shard)]
        return window(self, shard)

    def ahead(table: Any, records: Any) -> Any:
        ((follower, shard),) = current
        shard.checkpoint = records[-1]["dynamodb"]["SequenceNumber"]
        follower._put(shard)
        return original(table, records)

    monkeypatch.setattr(Follower, "_window", remember)
    monkeypatch.setattr(replay, "apply", ahead)
    assert caught()


def test_caught_child_before_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Follower, "_runnable", lambda self, shard: not shard.done)
    assert caught()


def test_caught_records_of_one_key_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    original = replay.apply

    def parallel(table: Any, records: Any) -> Any:
        done = [original(table, [record]) for record in reversed(records)]
        return done[0]

    monkeypatch.setattr(replay, "apply", parallel)
    assert caught()


def test_caught_writing_before_the_last_owners_requests_are_dead() -> None:
    assert caught(z=0.0)


def test_caught_copy_after_the_barrier(monkeypatch: pytest.MonkeyPatch) -> None:
    original = engine.Migration.follow

    def copy_again(self: Any) -> Any:
        """A segment that was read before the barrier is written after the replay."""
        table = self._clients.source.tables["source"]
        page = [dict(item) for item in table.items.values()]
        state = original(self)
        with self._lease() as lease:
            (own,) = self._tables(lease)
            engine.Copier(own, lambda n: None).items(page)
        return state

    monkeypatch.setattr(engine.Migration, "follow", copy_again)
    assert caught()


def test_caught_going_on_after_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Follower._open

    def fresh(self: Follower, shard: Shard) -> str:
        """Trimmed? Take a fresh iterator and go on, as the tools do that lose data."""
        try:
            return original(self, shard)
        except Gap:
            shard.checkpoint = ""
            return original(self, shard)

    class Forgetful(Simulation):
        def gap(self) -> None:
            self.gaps -= 1
            for shard in self.source.shards:
                shard.trimmed = len(shard.records)

    monkeypatch.setattr(Follower, "_open", fresh)
    wrong = 0
    for seed in range(400):
        simulation = Forgetful(seed, REKEY)
        simulation.gaps = 3
        simulation.run()
        wrong += bool(simulation.wrong())
    assert wrong
