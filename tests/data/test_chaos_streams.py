"""Shards that split, roll, are trimmed or listed late under a run, and iterators that expire."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fearless.data.engine import Migration
from fearless.testing.emulator import Emulator
from tests.data.streams import SplitStreams
from tests.data.worlds import Flaky, LiveWriter, Tables

pytestmark = pytest.mark.slow


class World(Tables):
    """One table, whose stream a test may do anything to."""

    def __init__(self, emulator: Emulator, page: int = 2) -> None:
        super().__init__(emulator, ("b",))
        table = self.client.describe_table(TableName=self.source("b"))["Table"]
        self.lineage = SplitStreams(self.streams, table["LatestStreamArn"], page)

    def run(self, report: Any, **more: Any) -> Migration:
        return self.migration(report, streams=more.pop("streams", self.lineage), **more)

    def open(self) -> list[str]:
        return [shard.id for shard in self.lineage.shards if not shard.closed]


@pytest.fixture
def world(emulator: Emulator) -> Iterator[World]:
    made = World(emulator)
    made.fill(120)
    yield made
    made.delete()


MOVES = 12
"""As many as can be followed: a child is read when its parent is done."""


@contextmanager
def moving(world: World, every: float = 0.25) -> Iterator[list[int]]:
    """Split and roll shards for a while, list children late, let iterators expire."""
    stop, done = threading.Event(), [0]

    def act() -> None:
        while done[0] < MOVES and not stop.wait(every):
            done[0] += 1
            shard = world.open()[done[0] % len(world.open())]
            if len(world.open()) < 6 and done[0] % 3:
                world.lineage.split(shard, hidden=done[0] % 4)
            else:
                world.lineage.roll(shard, hidden=done[0] % 3)
            if done[0] % 2:
                world.lineage.expire()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join(10)


def finish(migration: Migration, world: World) -> None:
    migration.drain()
    assert migration.verify(still=True).clean
    assert world.equal()


@pytest.mark.parametrize("rate", [0.0, 0.02])
def test_shards_split_under_a_live_writer(world: World, report: Any, rate: float) -> None:
    streams = Flaky(world.lineage, 3, rate) if rate else world.lineage
    migration = world.run(report, streams=streams)
    with LiveWriter(world, 41), moving(world) as done:
        migration.copy()
        ended = time.monotonic() + 3
        while time.monotonic() < ended:
            migration.follow()
        assert migration.verify().clean
    assert done[0] > 5
    assert len(world.open()) > 2
    finish(migration, world)
    rows = [row for row in migration._state.rows(migration._reader, 1, "T#") if "parent" in row]
    assert len(rows) == len(world.lineage.shards)
    assert len([row for row in rows if row["done"]]) == len(rows) - len(world.open())


def test_expired_iterators_do_no_harm(world: World, report: Any) -> None:
    migration = world.run(report)
    migration.copy()
    with LiveWriter(world, 42):
        for _ in range(4):
            world.lineage.expire()
            assert migration.follow().phase == "replay"
    finish(migration, world)


def test_a_trimmed_shard_breaks_the_run_and_copying_again_repairs_it(
    world: World, report: Any
) -> None:
    migration = world.run(report)
    migration.copy()
    migration.follow()
    with LiveWriter(world, 43) as writer:
        while writer.writes < 60:
            time.sleep(0.02)
    (shard,) = world.open()
    world.lineage.trim(shard, keep=5)
    state = migration.follow()
    assert state.phase == "broken"
    assert "trimmed past what had been applied" in state.reason
    assert any("broken" in line for line in report.lines)
    assert not world.equal()
    assert migration.state().phase == "broken"
    assert migration.copy().phase == "replay"
    assert migration.follow().phase == "replay"
    finish(migration, world)


def test_a_shard_that_is_gone_unread_breaks_the_run(world: World, report: Any) -> None:
    migration = world.run(report)
    migration.copy()
    migration.follow()
    with LiveWriter(world, 44) as writer:
        (parent,) = world.open()
        world.lineage.split()
        while writer.writes < 30:
            time.sleep(0.02)
        for shard in world.open():
            world.lineage.roll(shard)
    world.lineage.remove(parent)
    state = migration.follow()
    assert state.phase == "broken"
    assert "gone" in state.reason or "does not exist any more" in state.reason
    assert migration.copy().phase == "replay"
    migration.follow()
    finish(migration, world)


def test_splits_between_the_position_and_the_first_read(world: World, report: Any) -> None:
    """All of a lineage grows while the copy is under way; nothing of it was read by then."""
    migration = world.run(report)
    with LiveWriter(world, 45), moving(world, 0.05):
        migration.copy()
    assert len(world.lineage.shards) > 3
    migration.follow()
    finish(migration, world)
