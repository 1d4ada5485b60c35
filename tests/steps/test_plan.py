"""The plan: what is found and what is not, the migrations due, the guards; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fearless.interfaces import Sample
from fearless.procedure import Step
from fearless.steps.copy import Copy
from fearless.steps.plan import collect, describe, nothing
from fearless.steps.stack import ReleaseStack
from fearless.steps.sync import Sync

from .conftest import World
from .test_cutover import Trusting, copied, first_release
from .test_rollback import plugin

DOWN = ", down=lambda item, old: item"


def plan(world: World, letter: str) -> dict[str, Any]:
    procedure = world.procedure(letter)
    makers = (ReleaseStack, Copy, Sync, Trusting)
    steps: list[tuple[str, Callable[[], Step]]] = [
        (make.__name__, lambda make=make: make(procedure)) for make in makers
    ]
    before = set(world.store.writers), dict(world.provisioner.stacks), world.dns.target
    document = collect(procedure, steps)
    assert (set(world.store.writers), world.provisioner.stacks, world.dns.target) == before
    assert not procedure.lock.held
    assert set(world.store.log) <= {"sample"}
    return document


def guards(document: dict[str, Any]) -> dict[str, bool | None]:
    """All but the work tree's, which is no commit here."""
    return {g["guard"]: g["holds"] for g in document["guards"] if g["guard"] != "work tree"}


def test_before_anything_is_there(world: World) -> None:
    document = nothing(world.project, world.procedure("a").release, ["tag", "copy"])
    assert [step["step"] for step in document["steps"]] == ["tag", "copy"]
    assert not any(step["done"] for step in document["steps"])
    assert "the cloud does not answer" in describe(document)


def test_the_first_release(world: World) -> None:
    document = plan(world, "a")
    assert document["sample"] == []
    assert document["way_back"] is None
    assert guards(document) == {"lock": True}


def test_a_release_with_a_migration(world: World) -> None:
    first_release(world)
    plugin(world, DOWN)
    world.store.samples = [Sample("orders", 10, failed=2, lines=("orders: 10 read",))]
    document = plan(world, "b")
    (transform,) = document["transforms"]
    assert (transform["name"], transform["due"], transform["way_back"]) == (
        "shrink",
        True,
        "leads back",
    )
    held = guards(document)
    assert held["sample"] is False
    assert held["way back"] is True
    assert held["copy"] is None
    told = describe(document)
    assert "  shrink           will run  orders; leads back" in told
    assert "  orders: 10 read" in told
    assert "NO  sample       2 items cannot be migrated" in told
    assert "way back: `doit rollback` loses nothing" in told


def test_a_migration_that_leads_nowhere_back(world: World) -> None:
    first_release(world)
    plugin(world, "")
    document = plan(world, "b")
    assert guards(document)["way back"] is False
    assert "Write its `down`, or declare" in describe(document)
    plugin(world, ', irreversible="it forgets"')
    document = plan(world, "b")
    assert guards(document)["way back"] is True
    assert "way back: none: shrink: it forgets" in describe(document)


def test_when_it_is_copied(world: World) -> None:
    first_release(world)
    copied(world)
    document = plan(world, "b")
    done = {step["step"]: step["done"] for step in document["steps"]}
    assert done == {"ReleaseStack": True, "Copy": True, "Sync": False, "Trusting": False}
    assert all(guards(document).values())


@pytest.mark.parametrize("letter", ["b"])
def test_when_it_is_live(world: World, letter: str) -> None:
    first_release(world)
    plugin(world, DOWN)
    copied(world)
    procedure = world.procedure(letter)
    Trusting(procedure).make()
    procedure.lock.release()
    world.store.log.clear()
    document = plan(world, letter)
    assert all(step["done"] for step in document["steps"])
    assert not document["transforms"][0]["due"]
    assert document["sample"] == []


def test_what_stands_in_the_way(world: World) -> None:
    first_release(world)
    world.dns.target = "elsewhere"
    world.store.writers.clear()
    world.provisioner.tables = ()
    world.settings(tables="")
    held = guards(plan(world, "b"))
    assert (held["data"], held["dns"], held["production"]) == (False, False, False)
