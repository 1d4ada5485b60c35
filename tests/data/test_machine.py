"""Anything may happen in any order: writers, workers, deaths, pauses, splits, fences, aborts."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from fearless.data.state import Row, load
from fearless.errors import FearlessError
from tests.data.fake import Crash, Fake
from tests.data.simulation import FRAGILE, Simulation

pytestmark = pytest.mark.slow

KEYS = st.sampled_from(["k0", "k1", "k2"])
VALUES = st.integers(1, 14)
SOON = st.integers(1, 60)


@pytest.fixture(autouse=True, scope="module")
def _rarely() -> Iterator[None]:
    """Garbage is looked for rarely over all of the small runs, not in each."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    yield
    gc.set_threshold(*before)


class Watched(Fake):
    """Knows which writes to the target are the copy's, and sees when they land."""

    late_copies = 0

    def phase(self) -> str:
        """The run's, as the rows have it now."""
        rows = [load(item) for item in self.tables["state"].items.values()]
        return next((str(r["phase"]) for r in rows if r["sk"] == "META"), "none")

    def batch_write_item(self, RequestItems: Any) -> Any:
        before = self.phase()
        usual = super()._write

        def write(effect: Any) -> Any:
            def landing() -> Any:
                self.late_copies += before == "copying" and self.phase() == "replay"
                return effect()

            return usual(landing)

        self._write = write  # type: ignore[method-assign]
        try:
            return super().batch_write_item(RequestItems)
        finally:
            self.__dict__.pop("_write", None)


class Run(RuleBasedStateMachine):
    """The invariants of the design, I1 to I5 and I7 (the others need more than one run)."""

    @initialize(seed=st.integers(0, 2**16), trouble=st.booleans())
    def begin(self, seed: int, trouble: bool) -> None:
        simulation = self.simulation = Simulation(seed, FRAGILE, Watched)
        self.world = simulation.world
        simulation.left = 0
        self.world.crash = self.world.busy = 0.0
        self.world.lost = self.world.throttle = 0.02 if trouble else 0.0
        self.fenced = False

    def attempt(self, action: Any) -> Any:
        """Do it, unless it dies or is told to try again."""
        try:
            return action()
        except Crash:
            return None
        except FearlessError as error:
            self.simulation.refused(error)
            return None
        finally:
            self.world.crash_in = None

    # ------------------------------------------------------------------ writers

    @precondition(lambda self: not self.fenced)
    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: int) -> None:
        """Every seventh value is one that the plugin fails at."""
        self.simulation.source.put({"id": {"S": key}, "v": {"N": str(value)}})

    @precondition(lambda self: not self.fenced)
    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.simulation.source.delete({"id": {"S": key}})

    @rule(key=KEYS)
    def expire(self, key: str) -> None:
        """DynamoDB deletes what is too old, also in a fenced table."""
        self.simulation.source.expire({"id": {"S": key}})

    @rule()
    def split_a_shard(self) -> None:
        self.simulation.source.split()

    # ------------------------------------------------------------------ processes

    @rule()
    def copy(self) -> None:
        self.attempt(lambda: self.simulation.migration().copy())

    @rule()
    def follow(self) -> None:
        self.attempt(lambda: self.simulation.migration().follow())

    @rule(after=SOON)
    def kill_a_copy(self, after: int) -> None:
        self.world.crash_in = after
        self.attempt(lambda: self.simulation.migration().copy())

    @rule(after=SOON)
    def kill_the_owner_of_a_shard(self, after: int) -> None:
        self.world.crash_in = after
        self.attempt(lambda: self.simulation.migration().follow())

    @rule()
    def a_worker_helps(self) -> None:
        self.attempt(self.simulation.help)

    @rule(seconds=st.sampled_from([1.0, 10.0, 60.0]))
    def everything_stands_still(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @rule(likely=st.sampled_from([0.0, 0.02]))
    def processes_stop_and_go_on(self, likely: float) -> None:
        self.world.pause, self.world.other = likely, self.simulation.other

    @rule()
    def repair(self) -> None:
        self.attempt(lambda: self.simulation.migration().repair())

    @rule()
    def verify(self) -> None:
        self.attempt(lambda: self.simulation.migration().verify())

    # ------------------------------------------------------------------ cutover

    @precondition(lambda self: not self.fenced)
    @rule()
    def fence(self) -> None:
        self.fenced = True

    @precondition(lambda self: self.fenced)
    @rule()
    def drain(self) -> None:
        self.attempt(lambda: self.simulation.migration().drain())

    @precondition(lambda self: self.fenced)
    @rule()
    def turn(self) -> None:
        self.attempt(lambda: self.simulation.migration().turn())

    @precondition(lambda self: self.fenced)
    @rule()
    def abort(self) -> None:
        self.fenced = False

    # ------------------------------------------------------------------ what always holds

    def rows(self, part: str) -> list[Row]:
        """The rows of the newest copy."""
        rows = [load(item) for item in self.simulation.fake.tables["state"].items.values()]
        meta = [row for row in rows if row["sk"] == "META" and row["pk"] == "RUN#run"]
        newest = f"RUN#run#G{int(meta[0]['generation']):04d}" if meta else ""
        return [row for row in rows if row["pk"] == newest and f"#{part}#" in row["sk"]]

    @invariant()
    def a_checkpoint_never_goes_back_nor_beyond_what_there_is(self) -> None:
        """I3, as far as rows show it: what lies behind it is gone for good."""
        for row in self.rows("SHARD"):
            shard = self.simulation.source.find(row["shard"])
            numbers = [int(r["dynamodb"]["SequenceNumber"]) for r in shard.records]
            if row["checkpoint"]:
                assert int(row["checkpoint"]) in numbers
            if row["done"]:
                assert shard.closed
                assert not numbers or int(row["checkpoint"]) == numbers[-1]

    @invariant()
    def a_child_is_begun_after_its_parent(self) -> None:
        """I4."""
        rows = {row["shard"]: row for row in self.rows("SHARD")}
        for row in rows.values():
            if row["checkpoint"] or row["owner"] or row["done"]:
                assert row["parent"] not in rows or rows[row["parent"]]["done"]

    @invariant()
    def the_copy_writes_nothing_behind_the_barrier(self) -> None:
        """I5."""
        fake = self.simulation.fake
        assert isinstance(fake, Watched)
        assert fake.late_copies == 0

    @invariant()
    def every_item_is_accounted_for(self) -> None:
        """I7."""
        for row in self.rows("SEG"):
            assert row["read"] == row["kept"] + row["dropped"] + row["quarantined"]

    def teardown(self) -> None:
        """I1 and I2: when all is quiet, the target is T(source), and nothing more."""
        if not hasattr(self, "fenced"):
            return
        self.world.pause = 0.0
        self.simulation.drain()
        assert not self.simulation.wrong()
        assert self.simulation.migration().verify(still=True) is not None


Run.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestRun = Run.TestCase
