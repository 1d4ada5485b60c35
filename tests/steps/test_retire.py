"""Deleting the old stack: every guard, asked right before acting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fearless.errors import Refused
from fearless.interfaces import Stack
from fearless.steps.retire import Retire

from .conftest import World
from .test_cutover import Trusting, copied, first_release


def released(world: World, *letters: str) -> list[Stack]:
    stacks = [first_release(world)]
    for letter in letters:
        stacks.append(copied(world, letter))
        procedure = world.procedure(letter)
        Trusting(procedure).make()
        procedure.lock.release()
    return stacks


def test_the_last_former_stack_is_kept(world: World) -> None:
    first, second, _ = released(world, "b", "c")
    retire = Retire(world.procedure("c"))
    assert retire.find() is None
    done = retire.make()
    assert world.provisioner.deleted == [first.id]
    assert second.name in world.provisioner.stacks
    assert (
        f"{second.name} is kept: closed to writes, to go back to ([retire] keep = 1)" in done.detail
    )
    assert retire.find() is not None


def test_nothing_is_deleted_before_its_soak(world: World) -> None:
    released(world, "b")
    world.settings(keep=0, soak=3600)
    done = Retire(world.procedure("b")).make()
    assert world.provisioner.deleted == []
    assert "([retire] soak)" in done.detail


def test_candidates_and_dev_stacks_are_never_touched(world: World) -> None:
    first, _ = released(world, "b")
    candidate = world.stack("d")
    world.settings(keep=0, soak=0)
    Retire(world.procedure("b")).make()
    assert world.provisioner.deleted == [first.id]
    assert candidate.name in world.provisioner.stacks


@pytest.fixture
def old(world: World) -> tuple[Stack, dict[str, Any]]:
    first, _ = released(world, "b")
    record = world.procedure("b").ledger.release(first.sha)
    assert record is not None
    return first, record


def refuse(world: World, stack: Stack, record: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        Retire(world.procedure("b")).delete(stack, record)
    assert world.provisioner.deleted == []


def test_the_live_stack(world: World, old: tuple[Stack, dict[str, Any]]) -> None:
    live = world.procedure("b").live_stack()
    assert live is not None
    refuse(world, live, old[1], "is not deleted: it is live")


def test_a_stack_dns_points_at(world: World, old: tuple[Stack, dict[str, Any]]) -> None:
    world.dns.target = old[0].outputs["LoadBalancerDNS"]
    refuse(world, *old, "points at it")


def test_while_dns_points_at_neither(world: World, old: tuple[Stack, dict[str, Any]]) -> None:
    world.dns.target = "elsewhere"
    refuse(world, *old, "does not point at")


def test_a_stack_that_may_still_be_written(world: World, old: tuple[Stack, dict[str, Any]]) -> None:
    world.store.writers.add(old[0].id)
    refuse(world, *old, "may still write")


def test_a_stack_made_anew_under_the_same_name(
    world: World, old: tuple[Stack, dict[str, Any]]
) -> None:
    refuse(world, replace(old[0], id="arn:other"), old[1], "knows another stack by its SHA")


def test_a_stack_without_our_tags(world: World, old: tuple[Stack, dict[str, Any]]) -> None:
    refuse(world, replace(old[0], tags={}), old[1], "does not carry our tags")


def test_while_the_live_stack_is_not_ready(world: World, old: tuple[Stack, dict[str, Any]]) -> None:
    live = world.procedure("b").live_stack()
    assert live is not None
    world.provisioner.stacks[live.name] = replace(live, status="UPDATE_IN_PROGRESS")
    refuse(world, *old, "is not ready")


def test_a_stack_a_dev_stack_is_being_filled_from(
    world: World, old: tuple[Stack, dict[str, Any]]
) -> None:
    ledger = world.procedure("b").ledger
    row = {"branch": "x", "stack": "shop-d-x", "source": old[0].id}
    ledger.put("DEV", "x", row)
    refuse(world, *old, "shop-d-x is being filled from it")
    ledger.put("DEV", "x", {**row, "data": "arn:dev"})
    Retire(world.procedure("b")).delete(*old)
