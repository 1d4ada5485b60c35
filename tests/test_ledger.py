"""The ledger and the lock, on a real DynamoDB API."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import replace

import pytest

from fearless import names
from fearless.errors import Refused
from fearless.ledger import Ledger, Live, StepRecord
from fearless.lock import LEASE, Lock
from fearless.testing.emulator import Emulator

RELEASE = names.release("shop", "a" * 40, "20260101")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(emulator: Emulator, clock: Clock) -> Ledger:
    return Ledger(emulator.client("dynamodb"), f"t{uuid.uuid4().hex[:8]}", clock)


def test_an_absent_table_reads_as_empty_and_is_not_made(ledger: Ledger) -> None:
    assert ledger.live() is None
    assert ledger.releases() == []
    assert ledger.steps(RELEASE) == {}
    ledger.delete("DEV", "x")
    assert ledger.table not in ledger.client.list_tables()["TableNames"]


def test_the_live_pointer_is_compared_and_swapped(ledger: Ledger) -> None:
    one = Live("arn:1", "shop-r-1", "r1", "a" * 40, 1.0, ("t1@abc",))
    two = replace(one, stack_id="arn:2", stack="shop-r-2")
    ledger.go_live(one, None)
    assert ledger.live() == one
    with pytest.raises(Refused, match="shop-r-1 is live, not nothing"):
        ledger.go_live(two, None)
    ledger.go_live(two, one)
    with pytest.raises(Refused, match="shop-r-2 is live, not shop-r-1"):
        ledger.go_live(one, one)
    assert ledger.live() == two


def test_a_release_keeps_its_facts(ledger: Ledger, clock: Clock) -> None:
    ledger.remember(RELEASE)
    clock.now += 5
    ledger.remember(RELEASE, stack_id="arn:1")
    ledger.amend(RELEASE.sha, deleted_at=7)
    ledger.amend("b" * 40, deleted_at=7)
    (record,) = ledger.releases()
    assert record["created"] == 1_000_000.0
    assert (record["stack_id"], record["deleted_at"]) == ("arn:1", 7)


def test_steps_and_events(ledger: Ledger) -> None:
    record = StepRecord("copy", 1.0, 2.5, "10 items", {"read": 10})
    ledger.step_done(RELEASE, record)
    assert ledger.steps(RELEASE) == {"copy": record}
    ledger.event("live", "r1 is live", stack="x")
    assert [e["message"] for e in ledger.events()] == ["r1 is live"]


def test_many_rows_are_paged(ledger: Ledger) -> None:
    for number in range(30):
        ledger.put("BIG", f"{number:03}", {"n": number, "pad": "x" * 60_000})
    assert [row["n"] for row in ledger.all("BIG")] == list(range(30))


def test_a_second_operator_is_refused_with_the_holders_name(ledger: Ledger, clock: Clock) -> None:
    first, second = Lock(ledger, "doit release", clock), Lock(ledger, "doit release", clock)
    first.hold()
    first.hold()
    with pytest.raises(Refused) as caught:
        second.hold()
    assert f"(pid {os.getpid()}) since 13:46:40 UTC, doing `doit release`" in str(caught.value)
    assert second.holder() is not None
    first.release()
    assert second.holder() is None
    second.hold()
    second.release()


def test_dev_stacks_and_releases_do_not_wait_for_each_other(ledger: Ledger, clock: Clock) -> None:
    locks = [Lock(ledger, "doit", clock, name=name) for name in ("release", "x-d-1", "x-d-2")]
    for lock in locks:
        lock.hold()
    with pytest.raises(Refused):
        Lock(ledger, "doit", clock, name="x-d-1").hold()
    for lock in locks:
        lock.release()


def test_a_lease_that_ran_out_is_taken_over(ledger: Ledger, clock: Clock) -> None:
    first, second = Lock(ledger, "one", clock), Lock(ledger, "two", clock)
    first.hold()
    clock.now += LEASE + 1
    second.hold()
    holder = second.holder()
    assert holder is not None
    assert holder.doing == "two"
    first.release()
    assert second.holder() == holder
    second.release()


def test_a_holder_that_renewed_meanwhile_keeps_it(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Lock(ledger, "one", clock), Lock(ledger, "two", clock)
    first.hold()
    stale = second._read()
    clock.now += LEASE + 1
    first.hold()  # it was only paused, and renews before the other one takes it
    monkeypatch.setattr(second, "_read", lambda: stale)
    with pytest.raises(Refused, match=r"held by .* doing `one`"):
        second.hold()
    first.hold()
    first.release()


def test_a_holder_that_lost_it_is_told_before_its_next_change(ledger: Ledger, clock: Clock) -> None:
    first, second = Lock(ledger, "one", clock), Lock(ledger, "two", clock)
    first.hold()
    clock.now += LEASE + 1
    second.hold()
    with pytest.raises(Refused, match="was lost while this command was paused"):
        first.hold()
    second.release()


def test_the_lock_of_a_killed_process_is_taken_over_at_once(
    ledger: Ledger, clock: Clock, emulator: Emulator
) -> None:
    ledger.ensure()
    app = ledger.table.removeprefix("fearless-")
    script = (
        "import sys\n"
        "from fearless.testing.emulator import Emulator\n"
        "from fearless.ledger import Ledger\nfrom fearless.lock import Lock\n"
        f"ledger = Ledger(Emulator({emulator.url!r}).client('dynamodb'), {app!r})\n"
        "Lock(ledger, 'doit copy').hold()\nprint('held', flush=True)\nsys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    mine = Lock(ledger, "doit release")
    with pytest.raises(Refused, match=rf"pid {child.pid}\) .* doing `doit copy`"):
        mine.hold()
    child.kill()
    child.wait()
    child.stdin.close()  # type: ignore[union-attr]
    child.stdout.close()
    mine.hold()
    mine.release()
