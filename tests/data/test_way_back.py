"""There and back: what the new release wrote comes home, and nothing else is touched."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from fearless.data import engine, replay
from fearless.data.canonical import item_bytes
from fearless.data.items import Item
from fearless.data.tables import SENTINEL_MARK
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Transform
from tests.data.fake import Crash, Typed
from tests.data.simulation import Simulation


@pytest.fixture(autouse=True, scope="module")
def _rarely() -> Iterator[None]:
    """Garbage is looked for rarely over all of the small runs, not in each."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    yield
    gc.set_threshold(*before)


def up(item: Item) -> Item | None:
    """Rename one attribute, lose another, drop some items."""
    if int(item["v"]) % 5 == 0:
        return None
    item.rename("v", "value")
    item.pop("secret", None)
    return item


def down(item: Item, old: Item | None) -> Item:
    """What was lost comes from the old item."""
    item.rename("value", "v")
    if old is not None and "secret" in old:
        item["secret"] = old["secret"]
    return item


def split(item: Item) -> list[Item]:
    """None to two parts."""
    value = int(item["v"])
    return [
        Item.of({"pk": item["pk"], "sk": f"{item['sk']}/{(value + n) % 4}", "value": value})
        for n in range(value % 3)
    ]


def whole(key: Item) -> Item:
    return Item.of({"pk": key["pk"], "sk": key["sk"].split("/")[0]})


def join(parts: list[Item], old: Item | None) -> Item:
    """The greatest value, and how many parts there are."""
    item = whole(parts[0])
    item["v"] = max(part["value"] for part in parts)
    item["parts"] = len(parts)
    if old is not None and "secret" in old:
        item["secret"] = old["secret"]
    return item


KEEP = Transform("keep", ("t",), up, down=down)
SPLIT = Transform(
    "split", ("t",), split, "owned", whole, down=join, prefix=lambda key: f"{key['sk']}/"
)
pytestmark = pytest.mark.slow
KINDS = pytest.mark.parametrize("transform", [KEEP, SPLIT], ids=lambda t: t.name)


class ThereAndBack(Simulation):
    """A cutover, changes by the new release, and everything carried back."""

    keys = "pk"

    def __init__(self, seed: int, transform: Transform, **options: Any) -> None:
        self.written: set[bytes] = set()
        self.forgotten: set[bytes] = set()
        super().__init__(seed, transform, **options)

    def write(self) -> None:
        """A change by the old release, or by the new one when that is live."""
        if self.left <= 0:
            return
        self.left -= 1
        table = self.target if self.back else self.source
        chance = self.rng.random()
        if chance < 0.1:
            self.rng.choice([self.source, self.target]).split()
            return
        key = {"pk": {"S": f"p{self.rng.randint(0, 1)}"}, "sk": {"S": f"s{self.rng.randint(0, 2)}"}}
        unit = item_bytes(key)
        value = {"N": str(self.rng.randint(1, 12))}
        if self.back:
            if self.transform is SPLIT:
                key["sk"] = {"S": f"{key['sk']['S']}/{self.rng.randint(0, 3)}"}
            before = dict(table.items)
            if chance < 0.4:
                table.delete(key)
            else:
                table.put({**key, "value": value})
            if table.items != before:
                self.written.add(unit)
            if not self.members(unit):
                self.forgotten.add(unit)
        elif chance < 0.35:
            table.delete(key)
        else:
            table.put({**key, "v": value, "secret": {"S": f"secret {self.rng.random()}"}})

    def members(self, unit: bytes) -> list[Typed]:
        """The items of the new table that belong to an old key, in order of their keys."""
        found = [i for i in self.target.items.values() if self.unit(i) == unit]
        return sorted(found, key=lambda item: str(item["sk"]["S"]))

    @staticmethod
    def unit(item: Typed) -> bytes:
        return item_bytes({"pk": item["pk"], "sk": {"S": item["sk"]["S"].split("/")[0]}})

    def turn(self) -> None:
        """Both sides stand still: fix where the way back begins, however often it takes."""
        self.world.pause = 0.0
        for attempt in range(20):
            try:
                self.migration().turn()
                return
            except Crash:
                self.world.crash = self.world.crash if attempt < 5 else 0.0
            except FearlessError as error:
                self.refused(error)
                self.world.sleep(5.0)
        raise AssertionError("never turned")

    def run(self) -> None:
        crash, pause = self.world.crash, self.world.pause
        super().run()
        self.turn()
        if self.rng.random() < 0.4:
            self.world.crash, self.world.pause = crash, pause
            self.left = self.rng.randint(1, 15)
            self.write()
            self.drain()
            self.turn()
        self.left, self.back = self.rng.randint(5, 40), True
        self.before = dict(self.source.items)
        self.world.crash, self.world.pause = crash, pause
        for _ in range(40):
            try:
                self.migration(back=True).follow()
                if self.left <= 0 or self.rng.random() < 0.3:
                    break
                self.world.sleep(1.0)
            except Crash:
                continue
            except FearlessError as error:
                self.refused(error)
        self.left = 0
        self.drain()

    def wrong(self) -> str:
        """What is not as it should be in the old table at the end."""
        self.world.settle()
        before, after = unmarked(self.before), unmarked(self.source.items)
        for unit in before.keys() | after.keys() | self.written:
            old, new = before.get(unit), after.get(unit)
            if unit not in self.written:
                if old != new:
                    return f"{unit!r} was never written, and became {new}"
                continue
            want = self.expected(unit, old)
            if unit in self.forgotten:
                want, new = without(want), without(new)
            if want != new:
                return f"{unit!r} is {new}, should be {want}"
        return ""

    def expected(self, unit: bytes, old: Typed | None) -> Typed | None:
        members = [Item(dict(item)) for item in self.members(unit)]
        before = Item(dict(old)) if old else None
        if not members:
            return None
        return (
            join(members, before) if self.transform is SPLIT else down(members[0], before)
        ).typed


def unmarked(items: dict[bytes, Typed]) -> dict[bytes, Typed]:
    """Without sentinels: one whose request was lost may land after it was taken out."""
    return {key: item for key, item in items.items() if SENTINEL_MARK not in item}


def without(item: Typed | None) -> Typed | None:
    """An item that was gone meanwhile may have its secret still, or not."""
    return None if item is None else {k: v for k, v in item.items() if k != "secret"}


def outcomes(seeds: range, transform: Transform, **options: Any) -> list[str]:
    wrong = []
    for seed in seeds:
        simulation = ThereAndBack(seed, transform, **options)
        simulation.run()
        if problem := simulation.wrong():
            wrong.append(f"seed {seed}: {problem}")
        elif not simulation.migration(back=True).verify(still=True).clean:
            wrong.append(f"seed {seed}: not clean")
    return wrong


@KINDS
def test_what_was_written_comes_back_and_nothing_else_is_touched(transform: Transform) -> None:
    assert outcomes(range(40), transform) == []


@KINDS
def test_with_processes_that_stop_and_go_on(transform: Transform) -> None:
    assert outcomes(range(8), transform, paused=True) == []


def test_caught_carrying_the_copy_itself_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way back that begins at the start of the stream replays what the copy wrote."""
    original = engine.turn

    def inexact(*arguments: Any) -> Any:
        return {**original(*arguments), "after": {}, "ended": [], "t0": 0}

    monkeypatch.setattr(engine, "turn", inexact)
    monkeypatch.setattr(replay, "RETENTION", 10.0**12)
    assert any(outcomes(range(seed, seed + 1), SPLIT) for seed in range(20))


def test_there_is_no_way_back_before_the_cutover() -> None:
    simulation = ThereAndBack(1, KEEP)
    with pytest.raises(Refused, match="there is no way back"):
        simulation.migration(back=True).follow()
    with pytest.raises(Refused, match="never copied"):
        simulation.migration(back=True).copy()
    with pytest.raises(Refused, match="no way back of its own"):
        simulation.migration(back=True).turn()
