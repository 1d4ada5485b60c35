"""Who may coordinate, and how one who was replaced learns it."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from fearless.data.lease import Lease
from fearless.data.membership import LeaseLost
from fearless.data.state import StateTable
from fearless.errors import Refused
from fearless.owner import Owner, started
from tests.data.fake import Fake, Table, World
from tests.data.simulation import Silent


class Kit:
    def __init__(self) -> None:
        self.world = World(random.Random(1))
        client = Fake(self.world, Table(self.world, "state", False, "pk"))
        self.state = StateTable(client, "state", "run")

    def lease(self, pid: int = 1, dead: bool = False) -> Lease:
        class Known(Owner):
            def dead(self, row: object) -> bool:
                return dead

        return Lease(
            self.state,
            Silent(),
            clock=self.world.clock,
            sleep=self.world.sleep,
            owner=Known("host", "place", pid, "0", f"id-{pid}"),
            heartbeat=False,
        )


def test_given_back_is_taken_at_once() -> None:
    kit = Kit()
    with kit.lease() as first:
        assert first.epoch == 1
    before = kit.world.now
    with kit.lease(2) as second:
        assert second.epoch == 2
    assert kit.world.now - before < 1


def test_what_was_updated_is_found_by_the_next() -> None:
    kit = Kit()
    with kit.lease() as first:
        first.update({"phase": "copying"})
    with kit.lease(2) as second:
        assert second.meta["phase"] == "copying"


def test_a_dead_owner_is_followed_at_once() -> None:
    """Its late requests are the business of those who took over what its workers did."""
    kit = Kit()
    kit.lease().__enter__()
    before = kit.world.now
    with kit.lease(2, dead=True):
        assert kit.world.now - before < 1


def test_a_silent_owner_is_waited_for() -> None:
    kit = Kit()
    kit.lease().__enter__()
    before = kit.world.now
    with kit.lease(2):
        assert 41 <= kit.world.now - before < 45


def test_an_owner_that_renewed_once_and_died_is_followed() -> None:
    kit = Kit()
    first = kit.lease().__enter__()
    before = kit.world.now
    kit.world.busy, kit.world.act = 1.0, lambda: kit.world.now > before + 5 and renew_once()
    left = [1]

    def renew_once() -> None:
        if left:
            left.pop()
            first.update({})

    with kit.lease(2):
        kit.world.busy = 0.0
        assert 46 <= kit.world.now - before < 52


def test_a_live_owner_is_left_alone() -> None:
    kit = Kit()
    first = kit.lease()
    with first:
        kit.world.busy, kit.world.act = 0.05, lambda: first.update({})
        with pytest.raises(Refused, match="process 1 on host is working on this data run"):
            kit.lease(2).__enter__()
        kit.world.busy = 0.0


def test_a_paused_owner_fences_itself() -> None:
    kit = Kit()
    with kit.lease() as lease:
        lease.guard()
        kit.world.now += 15
        lease.guard()
        kit.world.now += 35
        with pytest.raises(LeaseLost, match="not renewed in time"):
            lease.guard()


def test_an_owner_that_was_replaced_learns_it() -> None:
    kit = Kit()
    first = kit.lease().__enter__()
    with kit.lease(2, dead=True):
        with pytest.raises(LeaseLost, match="another process has taken this run over"):
            first.update({})
        with pytest.raises(LeaseLost):
            first.guard()


def test_one_that_was_replaced_does_not_let_go_of_what_is_not_its_own() -> None:
    kit = Kit()
    first = kit.lease().__enter__()
    with kit.lease(2, dead=True) as second:
        first.__exit__(None, None, None)
        second.guard()
        second.update({})
        assert second.meta["owner"] == "id-2"


def test_a_thread_renews_it() -> None:
    kit = Kit()
    lease = Lease(kit.state, Silent(), duration=0.2, clock=kit.world.clock, owner=Owner.me())
    with lease:
        version = int(lease.meta["version"])
        deadline = time.monotonic() + 5
        while int(lease.meta["version"]) == version and time.monotonic() < deadline:
            time.sleep(0.01)
        assert int(lease.meta["version"]) > version


def test_a_process_that_ended_is_known_to_be_dead() -> None:
    me = Owner.me()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    row = {"place": me.place, "pid": child.pid, "start": started(child.pid)}
    assert not me.dead(row)
    child.kill()
    child.wait()
    assert me.dead(row)
    assert me.dead({**row, "pid": me.pid})
    assert not me.dead({**row, "place": "elsewhere"})
