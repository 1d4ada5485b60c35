"""Keys that pass between items, and items merged by group, through the whole engine."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fearless.data.canonical import item_bytes
from fearless.data.items import Item
from fearless.interfaces import Transform
from fearless.testing.emulator import Emulator
from tests.data.worlds import Flaky, Tables, key_of

pytestmark = pytest.mark.slow


def by_name(item: Item) -> list[Item]:
    """One output for each name that the item has; names pass from item to item."""
    if item.get("bad"):
        raise ValueError("bad")
    return [
        Item.of({"pk": f"name-{name}", "sk": "-", "v": item["v"], "n": len(item["names"])})
        for name in item["names"]
    ]


def of_day(item: Item) -> str:
    return "" if item["day"] == "never" else str(item["day"])


def total(items: list[Item]) -> list[Item]:
    """A sum for each day, at a key that depends on it, and a second item when it is large."""
    if any(item.get("bad") for item in items):
        raise ValueError("bad")
    sum_, first = sum(int(item["v"]) for item in items), items[0]
    keys = [f"{first['day']}#{sum_ % 3}"] + [f"{first['day']}#more"] * (sum_ % 5 == 0)
    return [Item.of({"pk": first["pk"], "sk": key, "sum": sum_, "n": len(items)}) for key in keys]


NAMES = Transform("names", ("a",), by_name, "transferable", owner_attribute="of")
DAYS = Transform("days", ("b",), kind="collection", group=of_day, merge=total)
BOTH = (NAMES, DAYS)


class World(Tables):
    """Table `a` gives names to items, no name to two; table `b` has items of days."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator, ("a", "b"))
        self.rng = random.Random(5)
        self.names_of: dict[int, list[int]] = {}
        self.free = list(range(40))
        self.v = 0

    def change(self) -> None:
        """One change of each table; a name is taken only after it was given up."""
        self.v += 1
        number = self.rng.randrange(25)
        mine = self.names_of.setdefault(number, [])
        if mine and self.rng.random() < 0.6:
            name = mine.pop(self.rng.randrange(len(mine)))
            self.owner(number)
            if self.rng.random() < 0.7:
                other = self.rng.randrange(25)
                self.names_of.setdefault(other, []).append(name)
                self.owner(other)
            else:
                self.free.append(name)
        elif self.free:
            mine.append(self.free.pop(self.rng.randrange(len(self.free))))
            self.owner(number)
        item = self.member(self.rng.randrange(60))
        if self.rng.random() < 0.2:
            self.client.delete_item(TableName=self.source("b"), Key=key_of(item))
        else:
            self.client.put_item(TableName=self.source("b"), Item=item)

    def owner(self, number: int) -> None:
        names = [str(name) for name in self.names_of[number]]
        item = {"pk": f"p{number}", "sk": "-", "names": names, "v": self.v}
        if names or self.rng.random() < 0.5:
            self.put("a", **item)
        else:
            key = Item.of({"pk": f"p{number}", "sk": "-"}).typed
            self.client.delete_item(TableName=self.source("a"), Key=key)

    def member(self, number: int) -> dict[str, Any]:
        day = self.rng.choice(["mon", "tue", "wed", "never"])
        values = {"pk": f"store{number % 4}", "sk": f"i{number}", "day": day, "v": self.v % 17}
        return Item.of(values).typed

    def put(self, table: str, **values: Any) -> None:
        self.client.put_item(TableName=self.source(table), Item=Item.of(values).typed)

    def wanted(self, name: str) -> dict[bytes, bytes]:
        """T(source), by a few lines of its own."""
        items = [Item(item) for item in self.all(self.source(name))]
        outputs = []
        if name == "a":
            for item in items:
                for output in by_name(item.copy()):
                    output["of"] = {"pk": item["pk"], "sk": item["sk"]}
                    outputs.append(output)
        else:
            groups: dict[tuple[str, str], list[Item]] = {}
            for item in items:
                groups.setdefault((item["pk"], of_day(item)), []).append(item)
            for (_, day), members in groups.items():
                outputs += total(members) if day else []
        return {item_bytes(key_of(o.typed)): item_bytes(o.typed) for o in outputs}

    def right(self) -> bool:
        return all(self.present(name) == self.wanted(name) for name in self.names)


class Changing(threading.Thread):
    def __init__(self, world: World) -> None:
        super().__init__(name="changing")
        self.world = world
        self.stopping = threading.Event()
        self.changes = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            self.world.change()
            self.changes += 1
            self.stopping.wait(0.02)

    def __enter__(self) -> Changing:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join(30)


@pytest.fixture
def world(emulator: Emulator) -> Iterator[World]:
    made = World(emulator)
    for _ in range(150):
        made.change()
    yield made
    made.delete()


def test_names_pass_and_groups_change_meanwhile(world: World, report: Any) -> None:
    migration = world.migration(report, transforms=BOTH)
    with Changing(world) as writer:
        migration.copy()
        for _ in range(3):
            migration.follow()
        online = migration.verify()
    assert online.clean, online
    assert writer.changes > 20
    migration.drain()
    assert migration.verify(still=True).clean
    assert world.right()
    assert migration.verify().clean
    assert migration.quarantine() == []
    assert "no way back" in migration.state().one_way


def test_names_pass_while_everything_fails(world: World, report: Any) -> None:
    flaky = Flaky(world.client, 11, 0.02, throttles=6)
    migration = world.migration(report, client=flaky, transforms=BOTH)
    with Changing(world):
        migration.copy()
        migration.follow()
    migration.drain()
    assert flaky.trouble > 5
    assert world.right()
    assert migration.verify().clean


def test_what_differs_is_found_and_repaired(world: World, report: Any) -> None:
    migration = world.migration(report, transforms=BOTH)
    migration.copy()
    migration.follow()
    for name in ("a", "b"):
        gone, changed, *_ = world.all(world.target(name))
        world.client.delete_item(TableName=world.target(name), Key=key_of(gone))
        world.client.put_item(TableName=world.target(name), Item={**changed, "n": {"N": "99"}})
        stray = {"pk": {"S": "extra"}, "sk": {"S": name}}
        world.client.put_item(TableName=world.target(name), Item=stray)
    verdict = migration.verify()
    assert [len(part) for part in (verdict.missing, verdict.different, verdict.extra)] == [2, 2, 2]
    assert migration.repair().clean
    assert world.right()


def test_bad_items_are_kept_aside_and_waived_or_mended(world: World, report: Any) -> None:
    world.put("a", pk="x", sk="-", names=["bad-one"], v=1, bad=True)
    world.put("b", pk="store9", sk="1", day="mon", v=1, bad=True)
    world.put("b", pk="store9", sk="2", day="mon", v=1)
    migration = world.migration(report, transforms=BOTH)
    assert migration.copy().quarantined == 3
    migration.follow()
    assert {row["key"]["pk"]["S"] for row in migration.quarantine()} == {"x", "store9"}
    assert not migration.verify().clean
    for row in migration.quarantine():
        assert migration.waive(row["table"], row["key"], "known")
    verdict = migration.verify()
    assert verdict.clean, verdict
    assert verdict.ignored["waived"] == 3
    world.put("a", pk="x", sk="-", names=["bad-one"], v=1)
    world.put("b", pk="store9", sk="1", day="mon", v=1)
    migration.follow()
    assert migration.quarantine() == []
    assert migration.verify().clean
    assert world.right()


def test_two_items_want_one_name(world: World, report: Any) -> None:
    world.put("a", pk="x", sk="-", names=["both"], v=1)
    world.put("a", pk="y", sk="-", names=["both"], v=1)
    migration = world.migration(report, transforms=BOTH)
    migration.copy()
    migration.follow()
    rows = migration.quarantine()
    assert {row["key"]["pk"]["S"] for row in rows} == {"x", "y"}
    assert {row["error"] for row in rows} == {"Collision"}
    assert not migration.verify().clean
    world.put("a", pk="y", sk="-", names=["mine"], v=2)
    migration.follow()
    assert migration.quarantine() == []
    migration.drain()
    assert migration.verify(still=True).clean
    assert world.right()


def test_a_collision_that_passes_is_settled_by_drain(world: World, report: Any) -> None:
    world.put("a", pk="x", sk="-", names=["both"], v=1)
    migration = world.migration(report, transforms=BOTH)
    migration.copy()
    world.put("a", pk="y", sk="-", names=["both"], v=1)
    migration.follow()
    assert len(migration.quarantine()) == 2
    world.client.delete_item(TableName=world.source("a"), Key=Item.of({"pk": "x", "sk": "-"}).typed)
    migration.drain()
    assert migration.quarantine() == []
    assert world.right()
