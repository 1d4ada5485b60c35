"""The cutover: exactly one side writable, at every step and after every failure."""

from __future__ import annotations

import pytest

from fearless.errors import FearlessError, Refused
from fearless.interfaces import Stack, Verdict
from fearless.steps.copy import Copy
from fearless.steps.cutover import Cutover
from fearless.steps.sync import Sync

from .conftest import World


class Trusting(Cutover):
    """The gates have their own tests."""

    def _check_gates(self, stack: Stack) -> None:
        self.procedure.report.line("gates asked")


def first_release(world: World) -> Stack:
    stack = world.stack("a")
    procedure = world.procedure("a")
    Trusting(procedure).make()
    procedure.lock.release()
    world.store.log.clear()
    return stack


def copied(world: World, letter: str = "b") -> Stack:
    stack = world.stack(letter)
    procedure = world.procedure(letter)
    Copy(procedure).make()
    Sync(procedure).make()
    procedure.lock.release()
    world.store.log.clear()
    return stack


def test_the_first_release_opens_and_points(world: World) -> None:
    stack = first_release(world)
    procedure = world.procedure("a")
    assert world.store.writers == {stack.id}
    assert procedure.is_live
    assert Trusting(procedure).find() is not None
    assert world.dns.target == f"{stack.name}.elb.localhost"


def test_the_order_that_loses_nothing(world: World) -> None:
    old = first_release(world)
    new = copied(world)
    done = Trusting(world.procedure("b")).make()
    assert world.store.log == [
        "verify",
        "follow",
        f"pause {old.name}",
        f"confirm {old.name}",
        "drain",
        "verify still",
        f"fence {old.name}",
        f"fence {old.name}",
        f"open {new.name}",
        f"open {new.name}",
    ]
    assert world.store.writers == {new.id}
    assert done.data["write_pause"] >= 0
    assert "writes were paused for" in done.detail


@pytest.mark.parametrize("call", ["pause", "confirm", "drain", "verify still", "fence"])
def test_a_failure_before_the_new_stack_is_open_undoes_everything(world: World, call: str) -> None:
    old = first_release(world)
    copied(world)
    world.store.fail = call
    procedure = world.procedure("b")
    with pytest.raises(FearlessError, match=f"{call} failed"):
        Trusting(procedure).make()
    assert world.store.writers == {old.id}
    assert world.dns.target == f"{old.name}.elb.localhost"
    assert not procedure.is_live
    world.store.fail = ""
    procedure.lock.release()
    again = world.procedure("b")
    Trusting(again).make()
    assert again.is_live


def test_a_difference_found_with_writes_paused_undoes_everything(world: World) -> None:
    old = first_release(world)
    copied(world)
    world.store.log.append("verify")  # compared before, in this process
    world.store.verdict = Verdict(10, missing=("orders s1/o1",))
    with pytest.raises(Refused, match=r"1 items of the candidate differ .* orders s1/o1"):
        Trusting(world.procedure("b")).make()
    assert world.store.writers == {old.id}


def test_a_cutover_that_takes_longer_than_its_budget_is_undone(world: World) -> None:
    old = first_release(world)
    copied(world)
    procedure = world.procedure("b")
    ticks = iter([0.0, 100.0])
    procedure.monotonic = lambda: next(ticks)
    with pytest.raises(FearlessError, match=r"100 s of its 20 s \(\[cutover\] budget\)"):
        Trusting(procedure).make()
    assert world.store.writers == {old.id}


def test_a_crash_after_the_old_stack_was_closed_for_good_goes_forward(world: World) -> None:
    first_release(world)
    new = copied(world)
    world.store.fail = "open"
    procedure = world.procedure("b")
    with pytest.raises(FearlessError, match="open failed"):
        Trusting(procedure).make()
    assert world.store.writers == set()
    procedure.lock.release()
    world.store.fail = ""
    world.store.log.clear()
    again = world.procedure("b")
    Trusting(again).make()
    assert world.store.writers == {new.id}
    assert not [call for call in world.store.log if call in ("drain", "verify")]


def test_a_crash_between_the_pointer_and_dns_is_finished(world: World) -> None:
    old = first_release(world)
    new = copied(world)
    procedure = world.procedure("b")
    Trusting(procedure).make()
    procedure.lock.release()
    world.dns.target = f"{old.name}.elb.localhost"
    again = world.procedure("b")
    assert Trusting(again).find() is None
    Trusting(again).make()
    assert world.dns.target == f"{new.name}.elb.localhost"


def test_a_record_changed_by_hand_stops_the_cutover_before_the_pause(world: World) -> None:
    old = first_release(world)
    copied(world)
    world.dns.target = "elsewhere.example.com"
    with pytest.raises(Refused, match=r"points at elsewhere.example.com, not at the live stack"):
        Trusting(world.procedure("b")).make()
    assert world.store.writers == {old.id}
    assert world.store.log == []


def test_a_stack_that_was_live_before_is_not_filled_again(world: World) -> None:
    first_release(world)
    copied(world)
    procedure = world.procedure("b")
    Trusting(procedure).make()
    procedure.lock.release()
    with pytest.raises(Refused, match=r"was live before .* its data is behind"):
        Copy(world.procedure("a")).find()


def test_nothing_answers_for_the_new_stack(world: World) -> None:
    first_release(world)
    copied(world)

    class Elsewhere(Trusting):
        def _answer(self, stack: Stack, url: str) -> tuple[bool, str]:
            return False, "stack other"

    procedure = world.procedure("b")
    with pytest.raises(FearlessError, match=r"does not answer from .* \(last: stack other\)"):
        Elsewhere(procedure).make()
    assert procedure.is_live
