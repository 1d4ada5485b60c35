"""Deleting the old stack: every guard, asked right before acting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fearless.errors import FearlessError, Refused
from fearless.interfaces import Late, Stack
from fearless.status import collect, describe
from fearless.steps.retire import Retire
from fearless.testing.fakes import FakeCloud, FakeDns

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
    procedure = world.procedure("b")
    with pytest.raises(Refused, match=reason):
        Retire(procedure).delete(stack, record)
    procedure.lock.release()
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


# ------------------------------------------------------------------ what reached it late


def test_every_cutover_and_retirement_looks_for_late_writes(
    world: World, old: tuple[Stack, dict[str, Any]]
) -> None:
    live = world.procedure("b").live_stack()
    assert live is not None
    looked = f"late {old[0].name} {live.name}"
    assert world.store.log.count(looked) == 1
    Retire(world.procedure("b")).delete(*old)
    assert world.store.log.count(looked) == 2
    assert world.store.log.index(f"backup {old[0].name}") > world.store.log.index(looked)
    record = world.procedure("b").ledger.release(old[0].sha)
    assert record is not None
    assert record["backups"] == [f"backup:{old[0].id}"]


def test_a_stack_with_writes_that_are_nowhere_else(
    world: World, old: tuple[Stack, dict[str, Any]]
) -> None:
    world.store.later = Late(2, 0, 2)
    refuse(world, *old, "2 writes that reached it after its fence are nowhere else.*accept_data")
    status = collect(world.procedure("b"), lambda sha: world.project)
    assert status["former"][0]["late"]["conflicts"] == 2
    assert "KEEP IT: 2 writes that reached it" in describe(status)
    Retire(world.procedure("b"), accept_data_loss=True).delete(*old)
    assert world.provisioner.deleted == [old[0].id]


def test_it_is_deleted_once_they_were_put_right(
    world: World, old: tuple[Stack, dict[str, Any]]
) -> None:
    world.store.later = Late(1, 0, 1)
    refuse(world, *old, "1 writes that reached it")
    world.store.later = Late()
    Retire(world.procedure("b")).delete(*old)
    assert world.provisioner.deleted == [old[0].id]


def test_what_could_not_be_looked_at_is_not_taken_for_nothing(
    world: World, old: tuple[Stack, dict[str, Any]]
) -> None:
    live = world.procedure("b").live_stack()
    assert live is not None
    world.store.fail = f"late {old[0].name} {live.name}"
    refuse(world, *old, "is not known since .*: late .* failed")


def test_nothing_is_deleted_without_its_backup(
    world: World, old: tuple[Stack, dict[str, Any]]
) -> None:
    world.store.fail = "backup"
    with pytest.raises(FearlessError, match="backup failed"):
        Retire(world.procedure("b")).delete(*old)
    assert world.provisioner.deleted == []


def test_a_stack_that_other_names_lead_to(world: World, old: tuple[Stack, dict[str, Any]]) -> None:
    class Zone(FakeDns):
        def names(self, target: Stack) -> list[str]:
            return [f"old.{world.app}.localhost"] if target.id == old[0].id else []

    zone = Zone()
    zone.target = world.dns.target
    world.project.using(dns=zone)
    refuse(world, *old, rf"old\.{world.app}\.localhost points at it")


def test_a_load_balancer_that_is_still_asked(
    world: World, old: tuple[Stack, dict[str, Any]]
) -> None:
    class Counting(FakeCloud):
        count = 7

        def requests(self, stack: Stack, seconds: float) -> int:
            return self.count if (stack.id, seconds) == (old[0].id, 3600) else 0

    world.settings(keep=0, soak=3600)
    cloud = Counting({"dynamodb": world.cloud.client("dynamodb")})
    world.project.using(cloud=cloud)
    refuse(world, *old, r"had 7 requests in the last 1\.0 hours")
    cloud.count = 0
    Retire(world.procedure("b")).delete(*old)
    assert world.provisioner.deleted == [old[0].id]
