"""Who may write, and not before the last one's requests can no longer land."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from fearless.data.lease import Halted, Lease, LeaseLost
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

    def lease(self, pid: int = 1, dead: bool = False, zombie: float = 30.0) -> Lease:
        class Known(Owner):
            def dead(self, row: object) -> bool:
                return dead

        owner = Known("host", "place", pid, "0", f"id-{pid}")
        return Lease(
            self.state,
            Silent(),
            zombie,
            clock=self.world.clock,
            sleep=self.world.sleep,
            owner=owner,
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


def test_a_dead_owner_is_followed_after_its_requests_are_dead() -> None:
    kit = Kit()
    kit.lease().__enter__()
    before = kit.world.now
    with kit.lease(2, dead=True):
        assert 30 <= kit.world.now - before < 32


def test_giving_back_while_waiting_passes_the_wait_on() -> None:
    kit = Kit()
    kit.lease().__enter__()
    second = kit.lease(2, dead=True)
    second._acquire()
    second._release()
    before = kit.world.now
    with kit.lease(3):
        assert kit.world.now - before >= 29


def test_a_silent_owner_is_waited_for() -> None:
    kit = Kit()
    kit.lease().__enter__()
    before = kit.world.now
    with kit.lease(2):
        assert kit.world.now - before >= 70


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


def test_halting() -> None:
    kit = Kit()
    with kit.lease() as lease:
        lease.halt.set()
        with pytest.raises(Halted):
            lease.guard()


def test_an_unanswered_write_is_waited_for() -> None:
    kit = Kit()
    with kit.lease() as lease:
        lease.unknown()
        before = kit.world.now
        lease.wait_quiet("why")
        assert kit.world.now - before >= 30


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
