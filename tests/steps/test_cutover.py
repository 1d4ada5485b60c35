"""The cutover: exactly one side writable, at every step and after every failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fearless.errors import FearlessError, Refused
from fearless.interfaces import Stack, Verdict
from fearless.ledger import Ledger
from fearless.steps.copy import Copy
from fearless.steps.cutover import Cutover
from fearless.steps.gate import GateStep
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
        "turn",
        f"fence {old.name}",
        f"open {new.name}",
        f"late {old.name} {new.name}",
    ]
    assert world.store.writers == {new.id}
    assert done.data["write_pause"] >= 0
    assert "writes were paused for" in done.detail


@pytest.mark.parametrize("call", ["pause", "confirm", "drain", "verify still", "turn", "fence"])
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


def test_it_ends_although_the_old_stack_was_deleted_meanwhile(world: World) -> None:
    old = first_release(world)
    new = copied(world)
    procedure = world.procedure("b")
    Trusting(procedure).make()
    del world.provisioner.stacks[old.name]
    live, row = procedure.live(), procedure.ledger.get("CUTOVER", new.id)
    assert live is not None and row is not None
    assert "live at" in Trusting(procedure)._point(new, live, row).detail
    assert "was retired: its data is gone" in "\n".join(world.report.lines)


def no_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if killed right after the old stack was closed for good."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "go_live", killed)


def sealed(world: World, letter: str) -> None:
    procedure = world.procedure(letter)
    with pytest.MonkeyPatch.context() as patch:
        no_pointer(patch)
        with pytest.raises(KeyboardInterrupt):
            Trusting(procedure).make()
    procedure.lock.release()
    world.store.log.clear()


def test_killed_once_the_old_stack_is_closed_for_good_it_goes_forward(world: World) -> None:
    old = first_release(world)
    new = copied(world)
    sealed(world, "b")
    assert world.store.writers == set()
    again = world.procedure("b")
    assert Copy(again).find() is not None
    assert Sync(again).find() is not None
    assert GateStep(again, "data").find() is not None
    Trusting(again).make()
    assert world.store.writers == {new.id}
    assert world.store.log == [f"open {new.name}", f"late {old.name} {new.name}"]


def test_killed_between_the_pointer_and_the_rights_it_goes_forward(world: World) -> None:
    old = first_release(world)
    new = copied(world)
    world.store.fail = "open"
    procedure = world.procedure("b")
    with pytest.raises(FearlessError, match="open failed"):
        Trusting(procedure).make()
    assert world.store.writers == set()
    procedure.lock.release()
    world.store.fail = ""
    again = world.procedure("b")
    assert Trusting(again).find() is None
    Trusting(again).make()
    assert world.store.writers == {new.id}
    record = again.ledger.release(new.sha)
    former = again.ledger.release(old.sha)
    assert record is not None
    assert former is not None
    assert record["went_live"] == new.id
    assert former["superseded_at"] == record["live_since"]


def test_a_seal_is_worth_nothing_once_production_was_opened_again(world: World) -> None:
    """Another candidate's cutover opened it in between: what was written then must not be lost."""
    old = first_release(world)
    copied(world, "b")
    copied(world, "c")
    sealed(world, "b")
    other = world.procedure("c")
    world.store.fail = "drain"
    with pytest.raises(FearlessError, match="drain failed"):
        Trusting(other).make()
    other.lock.release()
    assert world.store.writers == {old.id}
    world.store.fail = ""
    world.store.log.clear()
    again = world.procedure("b")
    assert Sync(again).find() is None
    Trusting(again).make()
    assert {"drain", "verify still"} <= set(world.store.log)


def test_any_other_change_lets_production_write_again(world: World) -> None:
    old = first_release(world)
    copied(world, "b")
    sealed(world, "b")
    assert world.store.writers == set()
    other = world.procedure("c")
    other.change()
    assert world.store.writers == {old.id}
    assert any("they go on" in line for line in world.report.lines)
    other.lock.release()
    assert not world.procedure("b").sealed()


def test_a_live_stack_that_may_not_write_is_not_done(world: World) -> None:
    old = first_release(world)
    world.store.writers.clear()
    procedure = world.procedure("a")
    assert Trusting(procedure).find() is None
    Trusting(procedure).make()
    assert world.store.writers == {old.id}


def test_what_is_undone_is_only_what_is_still_live(world: World) -> None:
    """The lock was lost while paused, and somebody else went live meanwhile."""
    old = first_release(world)
    copied(world, "b")
    third = copied(world, "c")
    procedure = world.procedure("b")

    def overtaken(*_: object) -> None:
        world.store.writers.clear()
        live = procedure.live()
        assert live is not None
        new = replace(live, stack_id=third.id, stack=third.name, sha=third.sha)
        procedure.ledger.go_live(new, live)
        world.store.writers.add(third.id)
        raise FearlessError("the drain took too long")

    world.store.drain = overtaken  # type: ignore[method-assign, assignment]
    with pytest.raises(FearlessError, match="took too long"):
        Trusting(procedure).make()
    assert world.store.writers == {third.id}
    assert any(f"{old.name} is not live any more" in line for line in world.report.lines)


def test_a_name_that_serves_something_else_is_not_taken_over(world: World) -> None:
    world.stack("a")
    world.dns.target = "legacy.example.com"
    procedure = world.procedure("a")
    with pytest.raises(Refused, match=r'points at legacy.example.com.*`replaces = "legacy'):
        Trusting(procedure).make()
    assert procedure.live() is None
    assert world.store.writers == set()
    procedure.lock.release()
    world.settings(replaces="legacy.example.com")
    again = world.procedure("a")
    Trusting(again).make()
    assert again.is_live


def test_a_table_is_not_left_behind_without_a_word(world: World) -> None:
    first_release(world)
    world.provisioner.tables = ()
    world.settings(tables="")
    world.stack("b")
    with pytest.raises(Refused, match=r"has a table 'Orders' that bbbbbbb does not declare"):
        Copy(world.procedure("b")).find()
    world.settings(tables='[dropped]\norders = "nobody reads it"')
    assert Copy(world.procedure("b")).find() is not None


def test_an_app_without_tables_is_released_again_and_again(world: World) -> None:
    world.provisioner.tables = ()
    world.settings(tables="")
    first_release(world)
    for letter in "bc":
        copied(world, letter)
        procedure = world.procedure(letter)
        Trusting(procedure).make()
        assert Trusting(procedure).find() is not None
        procedure.lock.release()


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
