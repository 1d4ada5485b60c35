"""What every data store keeps: who may write is exact at every moment, and runs are repeatable."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import pytest

from fearless.errors import Refused
from fearless.interfaces import (
    Backups,
    DataRun,
    DataStore,
    Journal,
    Late,
    LateWrites,
    Report,
    Stack,
    TableSpec,
)
from fearless.testing.contracts.given import Contract, explained

SECONDS = 2.0
"""How long a timed fence of these tests holds."""
PATIENCE = 30.0


class DataStoreContract(Contract):
    """`provider` is the store; `run` moves a few items from one stack nobody opened to another.

    Both stacks must have what `confirm_fence` tries to write as: tables and a role.
    """

    @pytest.fixture
    def provider(self) -> DataStore:
        """The data store."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def run(self) -> DataRun:
        """A data run that has not begun, without transforms, between two new stacks."""
        raise NotImplementedError("override the fixture `run`")

    @pytest.fixture
    def stack(self, run: DataRun) -> Stack:
        """The stack whose rights are changed."""
        return run.source

    def test_it_is_a_data_store(self, provider: DataStore) -> None:
        assert isinstance(provider, DataStore)

    # ------------------------------------------------------------------ rights

    def test_a_new_stack_may_not_be_written(self, provider: DataStore, stack: Stack) -> None:
        assert provider.writable(stack) is False

    def test_opening_twice_is_opening_once(self, provider: DataStore, run: DataRun) -> None:
        for _ in range(2):
            provider.open(run.source)
            assert provider.writable(run.source) is True
        assert provider.writable(run.target) is False, "the right is one stack's"

    def test_fencing_for_good_is_for_good(self, provider: DataStore, stack: Stack) -> None:
        provider.open(stack)
        for _ in range(2):
            provider.fence(stack, None)
            assert provider.writable(stack) is False
        with suppress(Refused):
            provider.unfence(stack)
        assert provider.writable(stack) is False, "only going live again opens it"
        provider.open(stack)
        assert provider.writable(stack) is True

    def test_a_pause_can_be_undone(self, provider: DataStore, stack: Stack) -> None:
        provider.open(stack)
        for _ in range(2):
            provider.fence(stack, 300)
            assert provider.writable(stack) is False
        for _ in range(2):
            provider.unfence(stack)
            assert provider.writable(stack) is True

    def test_a_pause_ends_by_itself(self, provider: DataStore, stack: Stack) -> None:
        self.need_the_real_thing()
        provider.open(stack)
        provider.fence(stack, SECONDS)
        assert provider.writable(stack) is False
        deadline = time.monotonic() + PATIENCE
        while not provider.writable(stack):
            assert time.monotonic() < deadline, "nobody is there to lift it, and it did not end"
            time.sleep(0.1)

    def test_a_pause_becomes_one_for_good(self, provider: DataStore, stack: Stack) -> None:
        provider.open(stack)
        provider.fence(stack, 300)
        provider.fence(stack, None)
        with suppress(Refused):
            provider.unfence(stack)
        assert provider.writable(stack) is False

    def test_undoing_a_pause_gives_no_more_than_there_was(
        self, provider: DataStore, stack: Stack
    ) -> None:
        provider.fence(stack, 300)
        provider.unfence(stack)
        assert provider.writable(stack) is False

    def test_a_fence_is_confirmed_by_trying(
        self, provider: DataStore, stack: Stack, report: Report
    ) -> None:
        provider.open(stack)
        provider.fence(stack, 300)
        for _ in range(2):
            provider.confirm_fence(stack, report)

    def test_a_fence_that_is_not_there_is_not_confirmed(
        self, provider: DataStore, stack: Stack, report: Report
    ) -> None:
        self.need_the_real_thing()
        provider.open(stack)
        with explained():
            provider.confirm_fence(stack, report)

    def test_forgetting_tolerates_what_is_gone(self, provider: DataStore, stack: Stack) -> None:
        provider.forget(stack)
        provider.open(stack)
        provider.fence(stack, None)
        for _ in range(2):
            provider.forget(stack)
            assert provider.writable(stack) is False

    # ------------------------------------------------------------------ runs

    def test_a_run_that_has_not_begun(self, provider: DataStore, run: DataRun) -> None:
        assert provider.state(run).phase == "none"
        assert provider.state(run).phase == "none"

    def test_copying_twice_is_copying_once(
        self, provider: DataStore, run: DataRun, report: Report
    ) -> None:
        first = provider.copy(run, report)
        assert first.phase == "replay"
        second = provider.copy(run, report)
        assert (second.phase, second.read, second.written) == ("replay", first.read, first.written)
        assert provider.state(run).read == first.read
        for _ in range(2):
            assert provider.follow(run, report).phase == "replay"
            assert provider.verify(run, report).clean

    def test_a_target_that_is_written_is_not_copied_over(
        self, provider: DataStore, run: DataRun, report: Report
    ) -> None:
        self.need_the_real_thing()
        provider.open(run.target)
        with pytest.raises(Refused):
            provider.copy(run, report)

    def test_only_a_fenced_source_is_drained(
        self, provider: DataStore, run: DataRun, report: Report
    ) -> None:
        self.need_the_real_thing()
        provider.open(run.source)
        provider.copy(run, report)
        with pytest.raises(Refused):
            provider.drain(run, report)
        provider.fence(run.source, 300)
        for _ in range(2):
            assert provider.drain(run, report).phase == "replay"
            assert provider.verify(run, report).clean

    def test_nothing_is_kept_aside(self, provider: DataStore, run: DataRun, report: Report) -> None:
        state = provider.copy(run, report)
        assert (state.quarantined, state.suspects, state.one_way) == (0, 0, "")
        assert list(provider.quarantine(run)) == []
        for _ in range(2):
            assert provider.retry(run, report).phase == "replay"
            assert provider.repair(run, report).clean

    def test_only_what_is_in_quarantine_is_waived(
        self, provider: DataStore, run: DataRun, report: Report
    ) -> None:
        provider.copy(run, report)
        spec = next(iter(run.tables), TableSpec("orders", "id"))
        key = {spec.hash_key: {spec.hash_type: "1"}}
        if spec.range_key:
            key[spec.range_key] = {spec.range_type: "1"}
        with pytest.raises(Refused):
            provider.waive(run, spec.name, key, "nobody misses it")

    def test_a_table_without_transforms_needs_no_sample(
        self, provider: DataStore, run: DataRun, report: Report
    ) -> None:
        assert not run.transforms
        assert list(provider.sample(run, 10, report)) == []
        alone = replace(run, target=run.source)
        assert list(provider.sample(alone, 10, report)) == []
        assert provider.state(run).phase == "none"

    # ------------------------------------------------------------------ the way back

    @pytest.fixture
    def back(self, run: DataRun) -> DataRun:
        """The way back of the run."""
        return replace(run, source=run.target, target=run.source, back=True)

    def test_there_is_no_way_back_before_the_turn(
        self, provider: DataStore, run: DataRun, back: DataRun, report: Report
    ) -> None:
        assert provider.state(back).phase == "none"
        provider.copy(run, report)
        assert provider.state(back).phase == "none"

    def test_turning_twice_is_turning_once_and_undoes_nothing(
        self, provider: DataStore, run: DataRun, back: DataRun, report: Report
    ) -> None:
        provider.copy(run, report)
        for _ in range(2):
            provider.drain(run, report)
            provider.turn(run, report)
            assert provider.state(back).phase == "replay"
            assert provider.follow(run, report).phase == "replay"
            assert provider.verify(run, report).clean

    @pytest.mark.parametrize("side", ["source", "target"])
    def test_it_is_not_turned_while_one_side_may_be_written(
        self, provider: DataStore, run: DataRun, report: Report, side: str
    ) -> None:
        provider.copy(run, report)
        provider.open(getattr(run, side))
        with pytest.raises(Refused):
            provider.turn(run, report)

    def test_the_way_back_is_gone_like_the_way_there(
        self, provider: DataStore, run: DataRun, back: DataRun, report: Report
    ) -> None:
        provider.copy(run, report)
        provider.drain(run, report)
        provider.turn(run, report)
        provider.open(back.source)
        for _ in range(2):
            assert provider.follow(back, report).phase == "replay"
        if isinstance(provider, Journal):
            assert list(provider.writes(back, report)) == []
        assert provider.verify(back, report).clean
        provider.fence(back.source, 300)
        provider.confirm_fence(back.source, report)
        for _ in range(2):
            assert provider.drain(back, report).phase == "replay"
            assert provider.verify(back, report, still=True).clean
        assert provider.state(back).quarantined == 0

    # ------------------------------------------------------------------ what a store may do

    def test_nothing_is_late_where_nobody_wrote(
        self, provider: DataStore, run: DataRun, report: Report
    ) -> None:
        if not isinstance(provider, LateWrites):
            pytest.skip("this store does not read on what reaches the old stack")
        provider.copy(run, report)
        provider.drain(run, report)
        provider.turn(run, report)
        for _ in range(2):
            assert provider.late(run, report) == Late()

    def test_a_backup_made_twice_is_one(
        self, provider: DataStore, stack: Stack, report: Report
    ) -> None:
        if not isinstance(provider, Backups):
            pytest.skip("this store makes no backups")
        first = list(provider.backup(stack, report))
        assert list(provider.backup(stack, report)) == first
