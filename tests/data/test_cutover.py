"""The cutover, step by step: what it does, says and refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fearless.data.cutover import Cutover
from fearless.data.guards import Finding, check, of_data
from fearless.data.withdrawal import Limits
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.interfaces import DataState
from tests.data.cutover_world import LIMITS, Actor, World, attempt, cutover


def test_there_and_back_and_nothing_lost() -> None:
    world = World()
    world.tick(5)
    actor = Actor(world, "a")
    assert cutover(actor).state() is None
    row = cutover(actor).run()
    assert world.decided == [
        "CHECK",
        "FENCE",
        "CONFIRM",
        "DRAIN",
        "VERIFY",
        "TURN",
        "OPEN",
        "DONE",
    ]
    assert (row["live"], row["attempt"], row["owner"]) == ("target", 1, "")
    assert set(row["evidence"]) == {*world.decided} - {"DONE"}
    assert 0 < row["pause"] < LIMITS.budget
    assert actor.report.lines[0] == "CHECK: 0 guards hold; denied"
    world.settle()
    row = cutover(Actor(world, "b"), back=True).run()
    assert (row["live"], row["attempt"]) == ("source", 2)
    world.settle()


def test_what_it_refuses() -> None:
    world = World()
    actor = Actor(world, "a")
    with pytest.raises(Refused, match="no cutover to abort"):
        cutover(actor).abort()
    with pytest.raises(Refused, match="old tables are live"):
        cutover(actor, back=True).run()
    with pytest.raises(Refused, match="there was none yet"):
        cutover(actor).resume()
    cutover(actor).run()
    with pytest.raises(Refused, match="new tables are live already"):
        cutover(actor).run()
    with pytest.raises(Refused, match=r"no cutover to abort \(the last one is DONE"):
        cutover(actor).abort()
    with pytest.raises(Refused, match="no cutover is under way"):
        cutover(actor).resume()


def test_what_goes_the_other_way_is_not_touched() -> None:
    world = World()
    cutover(Actor(world, "a")).run()
    rollback = Actor(world, "b", kill=12)
    assert attempt(cutover(rollback, back=True).run) == "dead"
    for action in ("abort", "resume"):
        with pytest.raises(Refused, match="the last one was a rollback"):
            getattr(cutover(Actor(world, "c")), action)()
    assert cutover(Actor(world, "c")).expire() is False
    cutover(Actor(world, "d"), back=True).abort("no")
    world.settle()


def test_one_at_a_time() -> None:
    world = World()
    assert attempt(cutover(Actor(world, "a", kill=20)).run) == "dead"
    with pytest.raises(Refused, match=r"under way at step .*--resume.*--abort"):
        cutover(Actor(world, "b")).run()
    assert cutover(Actor(world, "b")).resume()["step"] == "DONE"


def test_items_that_differ_abort_it() -> None:
    world = World()
    world.differs = True
    with pytest.raises(Refused, match="1 items differ, the first is an item"):
        cutover(Actor(world, "a")).run()
    assert world.row is not None
    assert world.row["step"] == "ABORTED"
    assert "1 items differ" in world.row["reason"]
    world.settle()
    world.differs = False
    assert cutover(Actor(world, "b")).run()["attempt"] == 2
    world.settle()


def test_a_slow_drain_aborts_it() -> None:
    world = World(drain_takes=61)
    with pytest.raises(FearlessError, match=r"at step VERIFY .* after its budget of 60 s"):
        cutover(Actor(world, "a")).run()
    world.settle()


def test_a_drain_slower_than_the_fence_aborts_it() -> None:
    world = World(drain_takes=1000)
    assert "aborted" not in attempt(cutover(Actor(world, "a")).run)
    assert world.row is not None
    assert world.row["step"] == "ABORTED"
    world.settle()


def test_the_budget_of_a_dead_controller_is_ended_by_anybody() -> None:
    world = World(timed=False)
    assert attempt(cutover(Actor(world, "a", kill=28)).run) == "dead"
    assert world.row is not None
    assert world.row["step"] == "VERIFY"
    other = cutover(Actor(world, "b"))
    assert other.expire() is False
    world.tick(LIMITS.budget)
    assert other.expire() is True
    assert other.expire() is False
    world.settle()


def test_it_cannot_be_aborted_once_it_is_decided() -> None:
    world = World()
    kill = 0
    while world.row is None or not world.row.get("sealed"):
        world, kill = World(), kill + 1
        attempt(cutover(Actor(world, "a", kill=kill)).run)
    with pytest.raises(Refused, match="decided: --resume it"):
        cutover(Actor(world, "b")).abort()
    world.tick(1000)
    with pytest.raises(Refused, match="decided: --resume it"):
        cutover(Actor(world, "c")).abort()
    assert cutover(Actor(world, "d")).resume()["live"] == "target"
    world.settle()


def test_a_fence_that_lapsed_before_it_was_permanent_gives_the_decision_up() -> None:
    world, kill = World(), 0
    while world.row is None or world.row["step"] != "OPEN":
        world, kill = World(), kill + 1
        attempt(cutover(Actor(world, "a", kill=kill)).run)
    assert not world.row["sealed"]
    with pytest.raises(Refused, match="decided"):
        cutover(Actor(world, "b")).abort()
    world.tick(100)
    with pytest.raises(FearlessError, match="lifted itself before it could be made permanent"):
        cutover(Actor(world, "c")).resume()
    assert world.row["step"] == "ABORTED"
    world.settle()


def test_no_way_back_is_no_turn() -> None:
    world = World()
    made = cutover(Actor(world, "a"))
    one_way: Any = lambda: replace(DataState(phase="replay"), one_way="drop is final")  # noqa: E731
    made._mover.state = one_way  # type: ignore[method-assign]
    made._mover.turn = None  # type: ignore[assignment, method-assign]
    assert made.run()["evidence"]["TURN"] == "no way back: drop is final"


def test_an_undo_that_fails_is_said() -> None:
    world = World(drain_takes=61)
    made = cutover(Actor(world, "a"))

    def unfence(attempt: int) -> None:
        raise FearlessError("IAM is down")

    made._source.unfence = unfence  # type: ignore[method-assign]
    with pytest.raises(FearlessError, match=r"could not be undone: .*IAM is down\. The fence lift"):
        made.run()
    world.settle()


def test_a_guard_that_does_not_hold_changes_nothing() -> None:
    world = World()
    actor = Actor(world, "a")
    made = cutover(actor)
    made._guards = (
        lambda: Finding("lag", "9 s", "5 s at most", False, "let sync catch up"),
        lambda: Finding("phase", "replay", "replay", True, "copy"),
        lambda: Finding("suspects", "2 items", "none", False, "wait"),
    )
    with pytest.raises(Refused) as caught:
        made.run()
    assert str(caught.value) == (
        "refused: not ready for the cutover: lag is 9 s, needed is 5 s at most: let sync catch "
        "up; suspects is 2 items, needed is none: wait"
    )
    assert world.decided == ["CHECK", "ABORTED"]
    world.settle()


class Subject:
    def __init__(self, state: DataState, verified: bool = True) -> None:
        self._state = state
        self.verified = verified

    def state(self) -> DataState:
        return self._state


GOOD = DataState(phase="replay", lag=1.0)


def test_the_guards_of_good_data_hold() -> None:
    found = check(of_data(Subject(GOOD), lambda: 1000.0, ours=lambda: 990.0))
    assert [f.name for f in found] == [
        "phase",
        "lag",
        "suspects",
        "quarantine",
        "verification",
        "clock skew",
        "way back",
    ]
    assert str(found[1]) == "ok: lag: 1.0 s (needed: 5 s at most)"


@pytest.mark.parametrize(
    ("state", "verified", "said"),
    [
        (replace(GOOD, phase="broken", reason="a gap"), True, r"phase is broken \(a gap\)"),
        (replace(GOOD, lag=None), True, "lag is not known"),
        (replace(GOOD, lag=5.1), True, "lag is 5.1 s, needed is 5 s at most"),
        (replace(GOOD, suspects=3), True, "suspects is 3 items"),
        (replace(GOOD, quarantined=1), True, "quarantine is 1 items.*waive"),
        (GOOD, False, "verification is not clean"),
        (replace(GOOD, one_way="it drops names"), True, "way back is none, it drops names"),
    ],
)
def test_each_guard(state: DataState, verified: bool, said: str) -> None:
    with pytest.raises(Refused, match=said):
        check(of_data(Subject(state, verified), lambda: 0.0, ours=lambda: 0.0))


def test_no_way_back_may_be_accepted_and_clocks_may_not_differ() -> None:
    subject = Subject(replace(GOOD, one_way="it drops names"))
    assert check(of_data(subject, lambda: 0.0, accept_one_way=True, ours=lambda: 60.0))
    with pytest.raises(Refused, match="clock skew is 61 s"):
        check(of_data(Subject(GOOD), lambda: 0.0, ours=lambda: 61.0))


def test_limits_that_cannot_be_kept() -> None:
    with pytest.raises(ConfigError, match="margin of 5 s at least the 12 s"):
        Limits(margin=5)
    with pytest.raises(ConfigError, match="more than 0"):
        Limits(budget=0)


def test_the_thread_ends_a_budget_while_a_step_hangs() -> None:
    """With fences that do not lift themselves, only the thread can end a drain that hangs."""
    world = World(timed=False)
    actor = Actor(world, "a")
    made = cutover(actor)
    drain = made._mover.drain

    def hangs() -> DataState:
        state = drain()
        world.now += LIMITS.budget + 1
        assert made.expire()
        assert not world.sides["source"].fenced(world.now)
        return state

    made._mover.drain = hangs  # type: ignore[method-assign]
    with pytest.raises(FearlessError, match="step DRAIN did not end within 60 s"):
        made.run()
    world.settle()
    assert isinstance(made, Cutover)
