"""Class 3: items merged by group; thousands of bad days, and each rule broken on purpose."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from botocore.credentials import Credentials

from fearless.data.calls import Caller
from fearless.data.canonical import item_bytes
from fearless.data.group_rows import GroupRows
from fearless.data.groups import Group, Groups, units
from fearless.data.items import Item
from fearless.data.merge import Change, Merger
from fearless.data.outcome import Failed
from fearless.data.state import StateTable
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.data.wire import Wire
from fearless.data.writer import Op, Rejected, Writer
from fearless.errors import FearlessError
from tests.conftest import Emulator
from tests.data import merging
from tests.data.merging import DAYS, Corner, Gathering, Typed, pages
from tests.data.moto_server import moto

__all__ = ["moto"]


def wrong_ends(seeds: range, world: type[Gathering] = Gathering) -> list[str]:
    wrong = []
    for seed in seeds:
        run = world(seed)
        run.run()
        if problem := run.wrong():
            wrong.append(f"seed {seed}: {problem}")
    return wrong


@pytest.mark.slow
def test_no_wrong_end_state() -> None:
    assert wrong_ends(range(300)) == []


@pytest.mark.slow
def test_verify_sees_each_group_once() -> None:
    for seed in range(60):
        world = Gathering(seed)
        world.run()
        world.world.busy = 0
        found = [entry for page in world.groups().expected(pages(world)) for entry in page]
        names = [group.id for group, _ in found]
        assert len(names) == len(set(names))
        outputs = {k: v for _, outcome in found for k, v in outcome.outputs.items()}
        bad = [group for group, outcome in found if outcome.failure]
        days = {(g.hash["store"]["S"], g.name) for g in bad}
        present = {
            key: item
            for key, item in world.target.items.items()
            if (item["store"]["S"], item["sk"]["S"].split("#")[0]) not in days
        }
        assert outputs == present, seed
        levels = world.groups().levels(group for group, _ in found)
        assert {key: outcome.outputs for key, (_, outcome) in levels.items()} == {
            group.id: outcome.outputs for group, outcome in found
        }


class NoSecondLook(Merger):
    def settle(self, groups: Any, write: Any, seq: str, rounds: int = 1) -> Any:
        return super().settle(groups, write, seq, rounds=1)


class OnlyNewImages(Merger):
    def apply(self, changes: Iterable[Change], write: Any) -> Any:
        new = [merging.Change(change.key, [change.states[-1]]) for change in changes]
        return super().apply(new, write)


class FirstAndLastImages(Merger):
    def apply(self, changes: Iterable[Change], write: Any) -> Any:
        ends = [merging.Change(c.key, [c.states[0], c.states[-1]]) for c in changes]
        return super().apply(ends, write)


class NoRows(GroupRows):
    def add(self, group: Group, keys: Iterable[Typed]) -> Sequence[Typed]:
        return list(keys)


class Forgetful(GroupRows):
    """Keeps only what the last pass wrote, as if no other one could be under way."""

    def add(self, group: Group, keys: Iterable[Typed]) -> Sequence[Typed]:
        keys = list(keys)
        before = super().add(group, keys)
        for row in self._state.rows(self._caller(), self._generation, "T#t#GRP#"):
            if row["group"] == group.key:
                new = {"group": group.key, "keys": keys}
                sk, seen = row["sk"], int(row["v"])
                self._state.replace(self._caller(), self._generation, sk, new, seen)
        return before


def caught(**broken: Any) -> bool:
    world = type("Broken", (Gathering,), broken)
    return any(wrong_ends(range(seed, seed + 1), world) for seed in range(1_500))


@pytest.mark.slow
@pytest.mark.parametrize("broken", [NoSecondLook, OnlyNewImages, FirstAndLastImages])
def test_caught_settling(broken: type[Merger]) -> None:
    assert caught(merger=broken)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [NoRows, Forgetful])
def test_caught_keeping_keys(broken: type[GroupRows]) -> None:
    assert caught(rows=broken)


@pytest.mark.slow
def test_caught_keeping_the_keys_after_the_writes() -> None:
    class Late(GroupRows):
        """Returns the keys, but writes the row only when the next group is looked at."""

        waiting: tuple[Group, list[Typed]] | None = None

        def add(self, group: Group, keys: Iterable[Typed]) -> Sequence[Typed]:
            if self.waiting:
                super().add(*self.waiting)
            self.waiting = (group, list(keys))
            before = super().add(group, [])
            return [*before, *(key for key in self.waiting[1] if key not in before)]

    assert caught(rows=Late)


# ---------------------------------------------------------------- on a real engine


class Shop:
    """Items by day on one side, sums by day on the other; state rows in a third table."""

    def __init__(self, client: Any, maker: Any) -> None:
        tag = uuid.uuid4().hex[:8]
        self.client = client
        self.maker = maker
        self.source = self.create(f"items-{tag}", "store")
        self.target = self.create(f"sums-{tag}", "store")
        self.create(f"state-{tag}", "pk")
        self.corner = Corner()
        self.caller = Caller(lambda: None, lambda: None, random.Random(1).random, lambda _: None)
        self.migrate = Pipeline("t", self.target, [DAYS], self.source)
        self.groups = Groups(client, self.source, self.migrate, self.caller)
        state = StateTable(client, f"state-{tag}", "run")
        self.rows = GroupRows(state, lambda: self.caller, 1, "t", self.target)
        self.merger = Merger(self.groups, self.target, self.rows, self.corner)
        self.write = Writer(client, self.target, self.caller).write

    def create(self, name: str, hash_key: str) -> TableInfo:
        keys = ((hash_key, "HASH"), ("sk", "RANGE"))
        self.maker.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": n, "KeyType": role} for n, role in keys],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        return TableInfo.of(self.maker.describe_table(TableName=name)["Table"])

    def put(self, sk: str, day: str, v: int, **more: Any) -> Typed:
        typed = Item.of({"store": "s", "sk": sk, "day": day, "v": v, **more}).typed
        self.maker.put_item(TableName=self.source.table, Item=typed)
        return typed

    def all(self, info: TableInfo) -> list[Typed]:
        items: list[Typed] = self.maker.scan(TableName=info.table, ConsistentRead=True)["Items"]
        return items

    def sums(self) -> dict[str, int]:
        return {item["sk"]["S"]: int(item["sum"]["N"]) for item in self.all(self.target)}


@pytest.fixture(params=["wire", "boto3", "moto"])
def shop(request: pytest.FixtureRequest, emulator: Emulator) -> Shop:
    if request.param == "moto":
        engine = request.getfixturevalue("moto")
        return Shop(engine, engine)
    maker = emulator.client("dynamodb")
    wire = Wire("dynamodb", emulator.url, "us-east-1", Credentials("test", "test"))
    return Shop(maker if request.param == "boto3" else wire, maker)


def test_copy_replay_and_moves(shop: Shop) -> None:
    items = [shop.put(f"i{n}", ["mo", "tu"][n % 2], n) for n in range(6)]
    items.append(shop.put("i9", "never", 1))
    counts = shop.merger.copy(items, shop.write)
    assert counts == {
        "read": 7,
        "kept": 6,
        "dropped": 1,
        "quarantined": 0,
        "changed": 6,
        "written": 2,
    }
    assert shop.sums() == {"mo#0": 6, "tu#0": 9}
    key = shop.source.key(items[0])
    moved = shop.put("i0", "tu", 10)
    (mo, tu) = shop.merger.apply([merging.Change(key, [items[0], moved])], shop.write)
    assert {mo.group.name, tu.group.name} == {"mo", "tu"}
    assert not mo.moving
    assert shop.sums() == {"mo#0": 6, "tu#1": 19, "tu#more": 19}
    shop.maker.delete_item(TableName=shop.source.table, Key=key)
    shop.merger.apply([merging.Change(key, [moved, None])], shop.write)
    assert shop.sums() == {"mo#0": 6, "tu#0": 9}
    levels = shop.groups.levels([tu.group])
    assert [set(o.outputs) for _, o in levels.values()] == [
        {shop.target.key_id(Item.of({"store": "s", "sk": "tu#0"}).typed)}
    ]


def test_a_group_that_fails_keeps_what_it_had_and_all_members_are_aside(shop: Shop) -> None:
    items = [shop.put(f"i{n}", "mo", n) for n in range(3)]
    shop.merger.copy(items, shop.write)
    bad = shop.put("i1", "mo", 5, bad=True)
    key = shop.source.key(bad)
    shop.merger.apply([merging.Change(key, [items[1], bad])], shop.write)
    assert shop.corner.open.keys() == {shop.source.key_id(item) for item in items}
    assert {failure.error for failure in shop.corner.open.values()} == {"ValueError"}
    assert shop.sums() == {"mo#0": 3}
    shop.put("i1", "mo", 6)
    shop.merger.retry([shop.source.key(item) for item in items], shop.write)
    assert shop.corner.open == {}
    assert shop.sums() == {"mo#2": 8}


def test_an_item_whose_group_cannot_be_told_is_aside_alone(shop: Shop) -> None:
    good = shop.put("i1", "mo", 5)
    strange = {**good, "sk": {"S": "i2"}}
    del strange["day"]
    shop.maker.put_item(TableName=shop.source.table, Item=strange)
    counts = shop.merger.copy([good, strange], shop.write)
    assert (counts["kept"], counts["quarantined"]) == (1, 1)
    assert list(shop.corner.open) == [shop.source.key_id(strange)]
    assert shop.sums() == {"mo#2": 5}
    with pytest.raises(Failed):
        shop.groups.group(strange)
    key = shop.source.key(strange)
    shop.maker.delete_item(TableName=shop.source.table, Key=key)
    shop.merger.apply([merging.Change(key, [strange, None])], shop.write)
    assert shop.corner.open == {}


def test_what_the_table_refuses_is_the_failure_of_its_group(shop: Shop) -> None:
    items = [shop.put("i1", "mo", 5), shop.put("i2", "tu", 5)]

    def picky(ops: Sequence[Op]) -> list[Rejected]:
        refused = [op for op in ops if op.key["sk"]["S"].startswith("mo")]
        shop.write(op for op in ops if op not in refused)
        return [Rejected(op, "too large for 'mo#2'") for op in refused]

    counts = shop.merger.copy(items, picky)
    assert (counts["kept"], counts["quarantined"]) == (1, 1)
    (failure,) = shop.corner.open.values()
    assert failure.message == "too large for '…'"
    assert shop.sums() == {"tu#2": 5}


def test_a_group_that_never_stands_still_is_handed_back(shop: Shop) -> None:
    item = shop.put("i1", "mo", 1)
    count = [1]

    def restless(ops: Sequence[Op]) -> list[Rejected]:
        count[0] += 1
        shop.put("i1", "mo", count[0])
        return shop.write(ops)

    (done,) = shop.merger.apply([merging.Change(shop.source.key(item), [None, item])], restless)
    assert done.moving
    (done,) = shop.merger.repair([done.group], shop.write)
    assert not done.moving
    assert shop.sums() == {f"mo#{count[0] % 3}": count[0]} | (
        {"mo#more": 13} if count[0] > 12 else {}
    )


def test_two_groups_that_make_one_item_are_both_wrong(shop: Shop) -> None:
    clash = Pipeline(
        "t",
        shop.target,
        [
            DAYS.__class__(
                "clash",
                ("t",),
                kind="collection",
                group=DAYS.group,
                merge=lambda items: [Item.of({"store": items[0]["store"], "sk": "same"})],
            )
        ],
        shop.source,
    )
    groups = Groups(shop.client, shop.source, clash, shop.caller)
    merger = Merger(groups, shop.target, shop.rows, shop.corner)
    items = [shop.put("i1", "mo", 5), shop.put("i2", "tu", 5)]
    assert merger.copy(items, shop.write)["quarantined"] == 2
    assert {f.message for f in shop.corner.open.values()} == {"two groups make an item of one key"}
    assert shop.sums() == {}


def test_too_many_keys_of_one_group_are_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fearless.data.group_rows.MOST", 2)
    group = Group({"store": {"S": "s"}}, "mo")
    keys = [{"store": {"S": "s"}, "sk": {"S": f"k{n}"}} for n in range(3)]
    assert shop.rows.add(group, keys[:2]) == keys[:2]
    assert shop.rows.add(group, keys[1:2]) == keys[:2]
    with pytest.raises(FearlessError, match="~group='mo' was written to more than 2 keys"):
        shop.rows.add(group, keys)


def test_a_group_has_a_key_of_its_own(shop: Shop) -> None:
    group = Group({"store": {"S": "s"}}, "mo")
    info = units(shop.source)
    assert Group.of(group.key) == group
    assert info.key_id(group.key) == group.id == item_bytes(group.key)
    assert info.keys == ("store", "~group")


def test_a_merge_with_two_answers_stops_the_run(shop: Shop) -> None:
    answers = iter(range(100))
    fickle = DAYS.__class__(
        "fickle",
        ("t",),
        kind="collection",
        group=DAYS.group,
        merge=lambda items: Item.of({"store": items[0]["store"], "sk": "a", "n": next(answers)}),
    )
    migrate = Pipeline("t", shop.target, [fickle], shop.source)
    groups = Groups(shop.client, shop.source, migrate, shop.caller)
    merger = Merger(groups, shop.target, shop.rows, shop.corner)
    with pytest.raises(FearlessError, match="two answers"):
        merger.copy([shop.put("i1", "mo", 5)], shop.write)
