"""The quarantine for people: listed, tried again, left out item by item with a reason."""

from __future__ import annotations

import pytest

from fearless.errors import ConfigError, Refused
from fearless.procedure import Done
from fearless.steps.waiver import quarantine

from .conftest import World
from .test_cutover import Trusting, copied, first_release

ROW = {
    "table": "orders",
    "key": {"store_id": {"S": "s1"}, "object_id": {"S": "o1"}},
    "transform": "split",
    "error": "KeyError",
    "message": "'lines'",
    "where": "transforms.py:5",
}


@pytest.fixture(autouse=True)
def held(world: World) -> None:
    first_release(world)
    copied(world)
    world.store.held.append(ROW)


def ask(world: World, waive: str = "", reason: str = "", retry: bool = False) -> Done:
    procedure = world.procedure("b")
    try:
        return quarantine(procedure, waive, reason, retry)
    finally:
        procedure.lock.release()


def test_it_stops_the_cutover_until_each_is_waived(world: World) -> None:
    procedure = world.procedure("b")
    with pytest.raises(Refused, match=r"1 items could not be migrated.*`doit quarantine` shows"):
        Trusting(procedure).make()
    procedure.lock.release()
    assert f"pause {procedure.live_stack()}" not in world.store.log
    shown = ask(world)
    assert "orders/s1/o1  split: KeyError: 'lines' (transforms.py:5)" in shown.detail
    assert shown.data["quarantine"][0]["name"] == "orders/s1/o1"
    waived = ask(world, "orders/s1/o1", "a test order")
    assert waived.data["quarantine"] == []
    event = procedure.ledger.events()[-1]
    assert (event["kind"], event["sha"]) == ("waived", procedure.release.sha)
    assert event["message"].endswith("a test order")
    again = world.procedure("b")
    Trusting(again).make()
    assert again.is_live


def test_a_waiver_needs_a_reason_and_an_item(world: World) -> None:
    with pytest.raises(ConfigError, match="needs a reason: `doit quarantine waive=orders/x/y rea"):
        ask(world, "orders/x/y")
    with pytest.raises(Refused, match=r"orders/x/y is not in quarantine \(there is: orders/s1/o1"):
        ask(world, "orders/x/y", "why not")
    assert world.store.held == [ROW]


def test_trying_again(world: World) -> None:
    assert "nothing is in it" in ask(world, retry=True).detail
    assert world.store.log[-1] == "retry"
