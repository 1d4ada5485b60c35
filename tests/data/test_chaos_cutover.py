"""Over to the new tables and back, with workers killed meanwhile: nothing written is lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fearless.data.canonical import item_bytes
from fearless.data.engine import Migration
from fearless.data.items import Item
from fearless.errors import Refused
from fearless.testing.emulator import Emulator
from tests.data.chaos import BOTH_WAYS, SMALL, Trouble, Watched, down, fork, job_of, join, up
from tests.data.worlds import Tables, key_of

pytestmark = pytest.mark.slow

Typed = dict[str, Any]
KEYS = 80


class Sides(Tables):
    """Tables `a` (keep-key) and `b` (owned) of two releases; `live` is which one is in use."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator, ("a", "b"))
        self.live = "source"

    def name(self, table: str) -> str:
        return self.source(table) if self.live == "source" else self.target(table)

    def old(self, table: str) -> dict[bytes, Typed]:
        return {item_bytes(key_of(item)): item for item in self.all(self.source(table))}

    def new(self, table: str) -> dict[bytes, list[Typed]]:
        """The new items by the old key they belong to, in the order of their keys."""
        found: dict[bytes, list[Typed]] = {}
        for item in sorted(self.all(self.target(table)), key=lambda item: item["sk"]["S"]):
            key = {"pk": item["pk"], "sk": {"S": item["sk"]["S"].split("#")[0]}}
            found.setdefault(item_bytes(key), []).append(item)
        return found


class App(threading.Thread):
    """The application of the release that is in use: notes which old items it has changed."""

    def __init__(self, sides: Sides, seed: int) -> None:
        super().__init__(name="app")
        self.sides = sides
        self.client = sides.emulator.client("dynamodb")
        self.rng = random.Random(seed)
        self.changed: dict[str, set[bytes]] = {"a": set(), "b": set()}
        self.deleted: dict[str, set[bytes]] = {"a": set(), "b": set()}
        self.stopping = threading.Event()
        self.writes = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            table = self.rng.choice("ab")
            number = self.rng.randrange(KEYS)
            key = item_bytes(Item.of({"pk": f"p{number % 9}", "sk": f"s{number}"}).typed)
            self.changed[table].add(key)
            (self._write_old if self.sides.live == "source" else self._write_new)(
                table, number, key
            )
            self.writes += 1
            self.stopping.wait(0.005)

    def _write_old(self, table: str, number: int, key: bytes) -> None:
        item = old_item(self.rng, number)
        if self.rng.random() < 0.2:
            self.client.delete_item(TableName=self.sides.source(table), Key=key_of(item.typed))
        else:
            self.client.put_item(TableName=self.sides.source(table), Item=item.typed)

    def _write_new(self, table: str, number: int, key: bytes) -> None:
        name, item = self.sides.target(table), old_item(self.rng, number)
        chance = self.rng.random()
        if table == "a":
            item.pop("obsolete", None)
            made = up(item)
            assert made is not None
            if chance < 0.2:
                self.deleted[table].add(key)
                self.client.delete_item(TableName=name, Key=key_of(made.typed))
            else:
                self.client.put_item(TableName=name, Item=made.typed)
            return
        trunk, *children = fork(item)
        if chance < 0.4:
            self.client.put_item(TableName=name, Item=trunk.typed)
        for child in children:
            if chance < 0.8:
                self.client.put_item(TableName=name, Item=child.typed)
            else:
                self.client.delete_item(TableName=name, Key=key_of(child.typed))

    def __enter__(self) -> App:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join(30)


def old_item(rng: random.Random, number: int) -> Item:
    values = {"pk": f"p{number % 9}", "sk": f"s{number}", "title": f"t{rng.random()}"}
    item = Item.of({**values, "legacy": f"l{rng.randint(0, 9)}", "raw": rng.randbytes(9) + b"\0"})
    if rng.random() < 0.5:
        item["tags"] = {f"t{rng.randint(0, 3)}" for _ in range(2)}
    if rng.random() < 0.1:
        item["obsolete"] = True
    return item


@pytest.fixture
def sides(emulator: Emulator) -> Iterator[Sides]:
    made = Sides(emulator)
    rng = random.Random(1)
    for table in made.names:
        for number in range(KEYS):
            item = old_item(rng, number)
            made.client.put_item(TableName=made.source(table), Item=item.typed)
    yield made
    made.delete()


def run_of(sides: Sides, report: Any, engine: Watched, back: bool = False) -> Migration:
    return sides.migration(
        report, transforms=BOTH_WAYS, settings=SMALL, engine=engine, back=back,
        job=job_of(sides, SMALL, "both ways", back),
    )  # fmt: skip


def go_over(sides: Sides, report: Any, seed: int) -> None:
    """From an empty new side to the new side in use."""
    engine = Watched()
    migration = run_of(sides, report, engine)
    with App(sides, seed) as app, Trouble(engine, seed, 0.8) as trouble:
        migration.copy()
        migration.follow()
        assert migration.verify().clean
    assert app.writes > 20
    assert trouble.killed
    migration.drain()
    assert migration.verify(still=True).clean
    assert sides.equal(BOTH_WAYS)
    migration.turn()
    sides.live = "target"


def come_back(sides: Sides, report: Any, seed: int) -> None:
    """With changes made on the new side, all of which the old side has in the end."""
    before = {table: sides.old(table) for table in sides.names}
    engine = Watched()
    migration = run_of(sides, report, engine, back=True)
    with App(sides, seed) as app, Trouble(engine, seed, 1.5) as trouble:
        deadline = time.monotonic() + 30

        def enough() -> bool:
            return (app.writes > 200 and trouble.killed > 1) or time.monotonic() > deadline

        migration.follow(until=enough)
        assert migration.verify().clean
    migration.drain()
    assert migration.verify(still=True).clean
    for table in sides.names:
        check(sides, table, before[table], app)
    assert trouble.killed > 1
    sides.live = "source"


def check(sides: Sides, table: str, before: dict[bytes, Typed], app: App) -> None:
    """Old is D(new) for what was changed, and what it was for all else."""
    now, new = sides.old(table), sides.new(table)
    differing = 0
    for key in before.keys() | now.keys() | new.keys():
        was, items = before.get(key), [Item(item).copy() for item in new.get(key, [])]
        if key not in app.changed[table]:
            assert now.get(key) == was
            continue
        differing += now.get(key) != was
        old = Item(was) if was else None
        wanted = None
        if table == "a" and items:
            wanted = down(items[0], old).typed
        elif items:
            answer = join(items, old)
            wanted = answer.typed if answer else None
        found = now.get(key)
        if key in app.deleted[table]:
            if not items and was is not None and "obsolete" in was and found == was:
                continue
            found, wanted = without_legacy(found), without_legacy(wanted)
        elif not items and was is not None and "obsolete" in was:
            wanted = was
        assert canonical(found) == canonical(wanted), (key, was, items)
    assert differing > 10


def without_legacy(item: Typed | None) -> Typed | None:
    """What only the old release knew may be gone with an item that was deleted meanwhile."""
    return {n: v for n, v in item.items() if n != "legacy"} if item else None


def canonical(item: Typed | None) -> bytes:
    return item_bytes(item) if item else b""


def test_there_and_back_and_there_again(sides: Sides, report: Any) -> None:
    go_over(sides, report, 31)
    come_back(sides, report, 32)
    again = Sides(sides.emulator)
    again.source = sides.source  # type: ignore[method-assign]
    go_over(again, report, 33)
    with pytest.raises(Refused, match="no way back of its own"):
        run_of(again, report, Watched(), back=True).turn()
