"""The cutover under every crash and interleaving; and each of its rules broken, which must show.

At every moment: at most one side is writable, a side that is written holds everything written
before, and nobody is kept from writing for longer than budget and margin unless it was decided.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fearless.data.controller import Controller, Lost
from fearless.data.cutover import Cutover
from fearless.data.state import Row
from fearless.data.withdrawal import Withdrawal
from tests.data.cutover_world import (
    Actor,
    Change,
    FakeFence,
    Held,
    Violation,
    World,
    attempt,
    cutover,
    held,
)


def nothing(_: Cutover) -> None:
    """The rules as they are."""


def crashes(change: Change = nothing, stride: int = 1, **world_is: Any) -> Iterator[World]:
    """One process dies at every point; another comes after a while, and may die as well."""
    for back in (False, True):
        for kill in range(0, 1000, stride):
            for gap, second in ((0, "resume"), (0, "abort"), (40, "resume"), (1000, "resume")):
                world = started(change, back, **world_is)
                ended = attempt(cutover(Actor(world, "a", kill), back, change).run)
                world.tick(gap)
                after(world, second, "b", back, change)
                yield world
            if ended == "done":
                break
        else:
            raise AssertionError("it never came to its end")


def double_crashes(change: Change = nothing, stride: int = 5) -> Iterator[World]:
    """The second one dies as well, at every point, and a third one comes."""
    for kill in range(1, 60, stride):
        for second in ("resume", "abort"):
            for again in range(1, 60, 2):
                world = started(change, False)
                if attempt(cutover(Actor(world, "a", kill), False, change).run) != "dead":
                    break
                ended = after(world, second, "b", False, change, again)
                for third in ("abort", "resume"):
                    if world.row and world.row["step"] not in ("DONE",):
                        after(world, third, "c", False, change)
                yield world
                if ended != "dead":
                    break


def interleavings(
    change: Change = nothing, jumps: tuple[float, ...] = (0.0, 5.0, 70.0), **world_is: Any
) -> Iterator[World]:
    """A live process is held before each of its effects while another acts in between."""
    for jump in jumps:
        for second in ("abort", "expire", "resume"):
            for count in range(1000):
                for part in (1, 3, 5, 1000):
                    world = started(change, False, **world_is)
                    first = Actor(world, "a")
                    with held(first, cutover(first, False, change).run) as process:
                        going = process.steps(count)
                        world.tick(jump)
                        between(world, process, second, part, change)
                        process.finish()
                    yield world
                if not going:
                    break
            else:
                raise AssertionError("it never came to its end")


def between(world: World, process: Held, second: str, part: int, change: Change) -> None:
    """Another process does so many effects; the first one goes on, and then that one."""
    actor = Actor(world, "b")
    with held(actor, getattr(cutover(actor, False, change), second)) as other:
        other.steps(part)
        process.finish()
        other.finish()


def started(change: Change, back: bool, **world_is: Any) -> World:
    world = World(**world_is)
    world.tick(2)
    if back:
        cutover(Actor(world, "before"), False, change).run()
        world.decided.clear()
    return world


def after(
    world: World, action: str, name: str, back: bool, change: Change, kill: int | None = None
) -> str:
    """What a second process does about it: an operator aborts, or goes on."""
    made = cutover(Actor(world, name, kill), back, change)
    if world.row is None or not world.row["step"] or world.row["back"] != back:
        return "nothing"
    return attempt(getattr(made, action))


def explore(worlds: Iterator[World], least: int) -> dict[str, int]:
    """Judge the end of each; how often each end came about."""
    ends: dict[str, int] = {}
    for world in worlds:
        step = str(world.row["step"]) if world.row else "nothing"
        ends[step] = ends.get(step, 0) + 1
        world.settle()
        if world.decided.count("DONE") and world.decided[-1] == "ABORTED":
            raise Violation("both the abort and the opening won")
    assert sum(ends.values()) >= least, ends
    return ends


def test_every_crash() -> None:
    ends = explore(crashes(), 300)
    assert ends["DONE"] > 50
    assert ends["ABORTED"] > 50


def test_every_crash_with_slow_fences() -> None:
    assert explore(crashes(delay=4.0, stride=2), 100)["DONE"] > 20


def test_every_crash_with_fences_that_stay() -> None:
    assert explore(crashes(timed=False, stride=2), 100)["ABORTED"] > 20


def test_two_crashes() -> None:
    ends = explore(double_crashes(), 100)
    assert ends["DONE"] > 10
    assert ends["ABORTED"] > 10


@pytest.mark.slow
def test_every_interleaving() -> None:
    ends = explore(interleavings(), 500)
    assert ends["DONE"] > 50
    assert ends["ABORTED"] > 50


def test_interleavings_with_fences_that_stay() -> None:
    explore(interleavings(jumps=(0.0,), timed=False), 100)


def test_a_request_of_the_cutover_that_lands_after_the_rollback_opens_nothing() -> None:
    """A process held for long before it opens the new side, which was opened and closed since."""
    explore(late(nothing), 2)


def late(change: Change) -> Iterator[World]:
    for count in range(1000):
        world = started(change, False)
        first = Actor(world, "a")
        with held(first, cutover(first, False, change).run) as process:
            going = process.steps(count)
            if going and world.row and world.row.get("sealed") and world.row["step"] == "OPEN":
                world.tick(40)
                cutover(Actor(world, "b"), False, change).resume()
                cutover(Actor(world, "c"), True, change).run()
                process.finish()
                yield world
        if not going:
            break


# --------------------------------------------------------------------- broken on purpose


class AbortsWhatIsDecided(Withdrawal):
    def _may(self, row: Row, holder: str) -> bool:
        return True


class LiftsNothingWhenAborted(Withdrawal):
    def let_go(self, attempt: int, lost: Lost) -> None:
        pass


def withdrawal(kind: type[Withdrawal]) -> Change:
    def change(made: Cutover) -> None:
        made.withdrawal.__class__ = kind

    return change


def step(name: str, method: Callable[[Cutover, Controller], None]) -> Change:
    def change(made: Cutover) -> None:
        made._steps[name] = lambda hold: method(made, hold)

    return change


def permanent_at_once(made: Cutover, hold: Controller) -> None:
    made._source.fence(int(hold.row["attempt"]), None)
    made._advance(hold, "CONFIRM", "")


def opens_first(made: Cutover, hold: Controller) -> None:
    made._target.unfence(int(hold.row["attempt"]))
    Cutover._open(made, hold)


def opens_without_sealing(made: Cutover, hold: Controller) -> None:
    made._target.unfence(int(hold.row["attempt"]))
    made._source.fence(int(hold.row["attempt"]), None)
    made._advance(hold, "DONE", "", live=made._other, owner="")


def opens_what_others_may_abort(made: Cutover, hold: Controller) -> None:
    hold.row["step"] = "OPEN"
    hold.row["sealed"] = True
    made._source.fence(int(hold.row["attempt"]), None)
    made._target.unfence(int(hold.row["attempt"]))
    made._advance(hold, "DONE", "", live=made._other, owner="")


def no_confirm(made: Cutover, hold: Controller) -> None:
    made._advance(hold, "DRAIN", "")


def no_drain_nor_look(made: Cutover, hold: Controller) -> None:
    made._advance(hold, "TURN", "")


def drains_first(made: Cutover, hold: Controller) -> None:
    made._mover.drain()
    Cutover._fence(made, hold)


def no_time(made: Cutover) -> None:
    made._unbroken = lambda row, left: None  # type: ignore[method-assign]


def blind(made: Cutover) -> None:
    """Rows are written whatever is there."""
    actor: Any = made._rows

    def swap(row: Row, seen: int | None) -> bool:
        return bool(actor.effect(lambda: (setattr(actor.world, "row", dict(row)), True)[1]))

    class Blind:
        read = actor.read

    Blind.swap = staticmethod(swap)  # type: ignore[attr-defined]
    made._rows = Blind()  # type: ignore[assignment]
    made.withdrawal._rows = Blind()  # type: ignore[assignment]


def lifts_all(made: Cutover) -> None:
    """Lifting is not of an attempt and those before it, but of whatever is there."""
    for fence in (made._source, made._target):
        assert isinstance(fence, FakeFence)
        plain = fence.unfence
        fence.unfence = lambda attempt, plain=plain: plain(10**6)  # type: ignore[method-assign]


def weakens(made: Cutover) -> None:
    """A timed fence that lands late takes the place of the permanent one of its attempt."""
    assert isinstance(made._source, FakeFence)
    made._source.forgetful = True


Worlds = Callable[[Change], Iterator[World]]
BROKEN: list[tuple[str, Change, Worlds]] = [
    (
        "an abort after the opening was decided",
        withdrawal(AbortsWhatIsDecided),
        lambda change: crashes(change),
    ),
    (
        "nothing is lifted by whoever lost",
        withdrawal(LiftsNothingWhenAborted),
        lambda change: interleavings(change, (0.0,), timed=False),
    ),
    ("a permanent fence before the proof", step("FENCE", permanent_at_once), crashes),
    ("opening before the fence is permanent", step("OPEN", opens_first), crashes),
    ("opening what is not sealed", step("OPEN", opens_without_sealing), crashes),
    (
        "opening without a decision",
        step("TURN", opens_what_others_may_abort),
        lambda change: interleavings(change, (0.0,)),
    ),
    (
        "no proof that the fence holds",
        step("CONFIRM", no_confirm),
        lambda change: crashes(change, delay=4.0),
    ),
    ("no drain", step("DRAIN", no_drain_nor_look), crashes),
    (
        "a drain before the fence",
        lambda made: (
            step("FENCE", drains_first)(made),
            step("DRAIN", no_drain_nor_look)(made),
        ),
        crashes,
    ),
    ("no look at whether the fence lapsed", no_time, crashes),
    ("rows that are written blindly", blind, lambda change: interleavings(change, (0.0,))),
    ("a permanent fence made timed again", weakens, lambda change: interleavings(change, (0.0,))),
    ("fences lifted whatever their number", lifts_all, late),
]


@pytest.mark.parametrize(("change", "worlds"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_rule_shows(change: Change, worlds: Worlds) -> None:
    with pytest.raises(Violation):
        explore(worlds(change), 0)


def test_what_a_violation_is() -> None:
    world = World()
    world.sides["target"].puts.clear()
    with pytest.raises(Violation, match="both sides"):
        world.tick()
    world = World()
    Actor(world, "a").effect(lambda: None)
    with contextlib.suppress(Violation):
        world.sides["source"].puts = [*world.sides["target"].puts]
        world.tick(1000)
        raise AssertionError("nobody could write, and it was not seen")
