"""A worker's sign of life, and how the silent are given up."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

from fearless.data.calls import Caller
from fearless.data.membership import LeaseLost, Membership, quiet_at, workers
from fearless.data.state import StateTable
from fearless.owner import Owner
from tests.data.fake import Crash, Fake, Table, World

LEASE = 40.0


class Known(Owner):
    """One that knows nothing of others."""

    def dead(self, row: object) -> bool:
        return False


class Seeing(Owner):
    """One that sees that others' processes have ended."""

    def dead(self, row: object) -> bool:
        return True


class Kit:
    def __init__(self) -> None:
        self.world = World(random.Random(1))
        client = Fake(self.world, Table(self.world, "state", False, "pk"))
        self.state = StateTable(client, "state", "run")

    def member(self, name: str, kind: type[Owner] = Known, **more: Any) -> Membership:
        return Membership(
            self.state,
            LEASE,
            clock=self.world.clock,
            wall=self.world.clock,
            sleep=self.world.sleep,
            owner=kind("host", "place", 1, "0", name),
            **{"heartbeat": False, **more},
        )

    def rows(self) -> list[Any]:
        caller = Caller(lambda: None, lambda: None, self.world.clock, self.world.sleep)
        return workers(self.state, caller)


def test_who_leaves_is_gone_and_leaves_nothing() -> None:
    kit = Kit()
    watcher = kit.member("w")
    with kit.member("a") as member:
        assert [row["owner"] for row in kit.rows()] == [member.id]
        assert not watcher.gone(member.id)
    assert kit.rows() == []
    assert watcher.gone(member.id)


def test_the_silent_are_given_up_after_a_whole_lease_of_my_own_clock() -> None:
    kit = Kit()
    member, watcher = kit.member("a").__enter__(), kit.member("w")
    kit.world.now += 10 * LEASE
    assert not watcher.gone(member.id), "nobody has watched it yet"
    kit.world.now += LEASE - 1
    assert not watcher.gone(member.id)
    kit.world.now += 3
    assert watcher.gone(member.id)
    (ghost,) = kit.rows()
    assert ghost["ghost"]
    assert kit.world.now <= ghost["ghost_at"] <= kit.world.now + 1


def test_each_sign_of_life_counts_anew() -> None:
    kit = Kit()
    member, watcher = kit.member("a").__enter__(), kit.member("w")
    for _ in range(5):
        assert not watcher.gone(member.id)
        kit.world.now += LEASE - 1
        member.renew()


def test_a_process_that_ended_is_given_up_at_once() -> None:
    kit = Kit()
    member = kit.member("a").__enter__()
    assert kit.member("w", Seeing).gone(member.id)
    assert kit.rows()[0]["ghost"]


def test_a_ghost_learns_it_and_cannot_come_back() -> None:
    kit = Kit()
    member = kit.member("a").__enter__()
    assert kit.member("w", Seeing).gone(member.id)
    with pytest.raises(LeaseLost, match="given up"):
        member.renew()
    assert member.lost
    with pytest.raises(LeaseLost, match="taken over"):
        member.guard()
    member.__exit__(None, None, None)
    assert kit.rows()[0]["ghost"], "when its last request was sent must not be forgotten"


def test_giving_up_is_undone_by_a_sign_of_life_meanwhile() -> None:
    kit = Kit()
    member = kit.member("a").__enter__()
    watcher = kit.member("w", Seeing)
    usual = kit.state.row

    def row(*place: Any) -> Any:
        found = usual(*place)
        member.renew()
        return found

    kit.state.row = row  # type: ignore[method-assign]
    assert not watcher.gone(member.id)
    assert not kit.rows()[0]["ghost"]


def test_the_guard_covers_the_whole_request() -> None:
    kit = Kit()
    member = kit.member("a").__enter__()
    kit.world.now += LEASE - 15
    member.guard()
    (row,) = kit.rows()
    assert row["counter"] == 1, "it renews what is not fresh"
    kit.world.now += LEASE - 11
    with pytest.raises(LeaseLost, match="not renewed in time"):
        member.guard()
    member.awake()
    member.guard()


def test_a_pause_is_seen_before_anybody_gives_up() -> None:
    """A worker stops by its own clock before others may think it silent."""
    kit = Kit()
    member, watcher = kit.member("a").__enter__(), kit.member("w")
    stopped = given_up = None
    for _ in range(200):
        kit.world.now += 0.5
        left = member._renewed + member._duration - kit.world.now
        if stopped is None and left < member._budget:
            stopped = kit.world.now
        if watcher.gone(member.id):
            given_up = kit.world.now
            break
    assert stopped is not None
    assert given_up is not None
    assert given_up - stopped >= member._budget


@pytest.mark.parametrize("how", ["killed", "abandoned"])
def test_who_did_not_leave_in_good_order_stays_to_be_given_up(how: str) -> None:
    kit = Kit()
    member = kit.member("a").__enter__()
    if how == "abandoned":
        member.abandon()
        member.__exit__(None, None, None)
    else:
        member.__exit__(Crash, Crash(), None)
    assert len(kit.rows()) == 1


def test_ghosts_are_quiet_after_their_last_request() -> None:
    rows = [
        {"ghost": True, "ghost_at": 100},
        {"ghost": True, "ghost_at": 300},
        {"ghost": False, "ghost_at": 0},
    ]
    assert quiet_at(rows, 30.0) == 331.0
    assert quiet_at(rows[2:], 30.0) == 0.0


def test_a_thread_gives_signs_of_life() -> None:
    kit = Kit()
    beats = threading.Event()
    member = Membership(
        kit.state,
        0.2,
        clock=time.monotonic,
        wall=time.time,
        sleep=time.sleep,
        owner=Owner.me(),
        beat=beats.set,
    )
    with member:
        assert beats.wait(5)
        assert kit.rows()[0]["counter"] > 0
    assert kit.rows() == []
