"""Adversarial runs of class 3: groups settled by several processes at once, which die and lag."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fearless.data.calls import Caller
from fearless.data.group_rows import GroupRows
from fearless.data.groups import Group, Groups
from fearless.data.items import Item
from fearless.data.merge import Merger
from fearless.data.outcome import Failure
from fearless.data.state import StateTable
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.data.writer import Writer
from fearless.interfaces import Transform
from tests.data.fake import Crash, Fake, Shard, Table, Typed, World

DEPTH = 4


def of_day(item: Item) -> str:
    return "" if item["day"] == "never" else str(item["day"])


def total(items: list[Item]) -> list[Item]:
    """A sum for each day, at a key that depends on it, and a second item when it is large."""
    if any(item.get("bad") for item in items):
        raise ValueError("bad")
    sum_, first = sum(int(item["v"]) for item in items), items[0]
    keys = [f"{first['day']}#{sum_ % 3}"] + [f"{first['day']}#more"] * (sum_ > 12)
    return [
        Item.of({"store": first["store"], "sk": key, "sum": sum_, "n": len(items)}) for key in keys
    ]


DAYS = Transform("days", ("t",), kind="collection", group=of_day, merge=total)


@dataclass
class Change:
    key: Typed
    states: list[Typed | None]
    seq: str = "1"


@dataclass
class Suspect:
    groups: list[Group]
    due: float


@dataclass
class Corner:
    """Where failed items are; `open` is by the identity of the source key."""

    open: dict[bytes, Failure] = field(default_factory=dict)

    def add(self, info: TableInfo, key: Typed, failure: Failure, seq: str) -> None:
        self.open[info.key_id(key)] = failure

    def resolve(self, key_id: bytes) -> None:
        self.open.pop(key_id, None)


class Twisted(Fake):
    """Streams are split by the whole key, so that members of one group lie in several shards."""


class Gathering:
    """`merger` and `rows` are what is tested; the rest is a small engine around them."""

    merger: type[Merger] = Merger
    rows: type[GroupRows] = GroupRows

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.world = World(rng, crash=rng.choice([0, 0.01, 0.03]), lost=rng.choice([0, 0.02, 0.05]))
        self.world.throttle = rng.choice([0, 0.02, 0.1])
        self.world.busy = rng.choice([0.2, 0.4, 0.6])
        self.world.act = self.act
        self.source = self.table("source", True)
        self.target = self.table("target", False)
        self.fake = Twisted(self.world, self.source, self.target, self.table("state", False))
        self.state = StateTable(self.fake, "state", "run")
        self.corner = Corner()
        self.migrate = Pipeline("t", info_of(self.target), [DAYS], info_of(self.source))
        self.applied: dict[str, int] = {}
        self.busy: set[str] = set()
        self.suspects: list[Suspect] = []
        self.depth = 0
        self.following = False
        self.left = rng.randint(0, 12)
        while self.left:
            self.write()
        self.start = {shard.id: len(shard.records) for shard in self.source.shards}
        self.left = rng.randint(10, 60)

    def table(self, name: str, stream: bool) -> Table:
        table = Table(self.world, name, stream, "pk" if name == "state" else "store")
        if name != "state":
            table.keys = ["store", "sk"]
        return table

    # ---------------------------------------------------------------- what goes on meanwhile

    def act(self) -> None:
        if self.depth >= DEPTH:
            return
        self.depth += 1
        try:
            for _ in range(self.rng.choice([1, 1, 4])):
                chance = self.rng.random()
                if chance < 0.4 or not self.following:
                    self.write()
                elif chance < 0.95:
                    self.step()
                else:
                    self.reconcile_one()
        except Crash:
            self.world.dead = False
        finally:
            self.depth -= 1

    def write(self) -> None:
        if self.left <= 0:
            return
        self.left -= 1
        rng = self.rng
        key = {"store": {"S": rng.choice("ab")}, "sk": {"S": f"i{rng.randint(0, 3)}"}}
        chance = rng.random()
        if chance < 0.25:
            self.source.delete(key)
        elif chance < 0.35:
            self.source.split()
        else:
            values = {"day": rng.choice(["mo", "tu", "never"]), "v": rng.randint(1, 9)}
            if rng.random() < 0.03:
                values["bad"] = True
            self.source.put({**key, **Item.of(values).typed})

    # ---------------------------------------------------------------- a small engine

    def caller(self, unknown: Callable[[], None]) -> Caller:
        world = self.world
        return Caller(lambda: None, unknown, world.clock, world.sleep, rng=self.rng)

    def groups(self) -> Groups:
        return Groups(self.fake, info_of(self.source), self.migrate, self.caller(lambda: None))

    def make(self) -> Merger:
        target = info_of(self.target)
        rows = self.rows(self.state, lambda: self.caller(lambda: None), 1, "t", target)
        return self.merger(self.groups(), target, rows, self.corner)

    def write_by(self, caller: Caller) -> Any:
        return Writer(self.fake, info_of(self.target), caller).write

    def copy(self) -> None:
        segments: dict[int, Any] = {0: None, 1: None}
        while segments:
            segment = self.rng.choice(sorted(segments))
            try:
                page = self.page(segment, segments[segment])
                self.make().copy(page["Items"], self.write_by(self.caller(lambda: None)))
            except Crash:
                self.world.dead = False
                continue
            segments[segment] = page.get("LastEvaluatedKey")
            if not segments[segment]:
                del segments[segment]

    def page(self, segment: int, after: Any) -> Any:
        more = {"ExclusiveStartKey": after} if after else {}
        return self.caller(lambda: None).read(
            self.fake.scan,
            TableName="source",
            ConsistentRead=True,
            Segment=segment,
            TotalSegments=2,
            **more,
        )

    def ready(self) -> Iterator[Shard]:
        for shard in self.source.shards:
            unread = self.position(shard) < len(shard.records)
            if unread and shard.id not in self.busy and all(map(self.read_up, self.line(shard))):
                yield shard

    def line(self, shard: Shard) -> Iterator[Shard]:
        while shard.parent:
            shard = self.source.find(shard.parent)
            yield shard

    def read_up(self, shard: Shard) -> bool:
        return self.position(shard) == len(shard.records)

    def position(self, shard: Shard) -> int:
        return self.applied.get(shard.id, self.start.get(shard.id, 0))

    def step(self) -> bool:
        """Apply one window of one shard; what a dying process leaves behind is suspect."""
        ready = list(self.ready())
        if not ready:
            return False
        shard = self.rng.choice(ready)
        at = self.position(shard)
        records = shard.records[at : at + self.rng.choice([1, 2, 5])]
        changes: dict[bytes, Change] = {}
        for record in records:
            change = record["dynamodb"]
            key_id = info_of(self.source).key_id(change["Keys"])
            lane = changes.setdefault(key_id, Change(change["Keys"], [change.get("OldImage")]))
            lane.states.append(change.get("NewImage"))
        missed: list[bool] = []
        write = self.write_by(self.caller(lambda: missed.append(True)))
        self.busy.add(shard.id)
        try:
            done = self.make().apply(list(changes.values()), write)
            self.suspects += [Suspect([s.group], 0.0) for s in done if s.moving]
            self.applied[shard.id] = at + len(records)
        except Crash:
            missed.append(True)
            raise
        finally:
            self.busy.remove(shard.id)
            if missed:
                images = [image for change in changes.values() for image in change.states]
                groups, _ = self.groups().find(images)
                due = self.world.now + self.world.zombie
                self.suspects.append(Suspect(list(groups.values()), due))
        return True

    def reconcile_one(self) -> bool:
        due = [suspect for suspect in self.suspects if suspect.due <= self.world.now]
        if not due:
            return False
        suspect = self.rng.choice(due)
        suspect.due = float("inf")
        missed: list[bool] = []
        try:
            write = self.write_by(self.caller(lambda: missed.append(True)))
            moving = any(done.moving for done in self.make().repair(suspect.groups, write))
        except Crash:
            moving = True
            raise
        finally:
            if missed or moving:
                suspect.due = self.world.now + self.world.zombie
            else:
                self.suspects.remove(suspect)
        return True

    # ---------------------------------------------------------------- a whole run

    def run(self) -> None:
        world = self.world
        self.copy()
        world.sleep(world.zombie)
        self.following = True
        while self.left > 0 or any(self.ready()):
            world.sleep(0.1)
            try:
                self.step()
            except Crash:
                world.dead = False
            self.write()
        world.crash = world.lost = world.throttle = 0.0
        rounds = 0
        while (self.suspects or any(self.ready())) and rounds < 200:
            rounds += 1
            self.step()
            self.reconcile_one()
            world.sleep(1.0)
        world.settle()
        keys = [{n: item[n] for n in ("store", "sk")} for item in self.source.items.values()]
        stuck = [key for key in keys if info_of(self.source).key_id(key) in self.corner.open]
        self.make().retry(stuck, self.write_by(self.caller(lambda: None)))

    def wrong(self) -> str:
        """What is wrong at the end, by the tables alone."""
        if self.suspects:
            return "never quiet"
        days: dict[tuple[str, str], list[Item]] = {}
        for item in map(Item, self.source.items.values()):
            if of_day(item):
                days.setdefault((item["store"], item["day"]), []).append(item)
        expected: list[dict[str, Any]] = []
        bad: set[tuple[str, str]] = set()
        failed = set()
        for place, items in days.items():
            items.sort(key=lambda item: item["sk"])
            if any(item.get("bad") for item in items):
                bad.add(place)
                failed |= {(item["store"], item["sk"]) for item in items}
            else:
                expected += [dict(output.items()) for output in total(items)]
        present = [
            dict(item.items())
            for item in map(Item, self.target.items.values())
            if (item["store"], item["sk"].split("#")[0]) not in bad
        ]

        def order(items: Iterable[dict[str, Any]]) -> list[str]:
            return sorted(map(repr, (sorted(item.items()) for item in items)))

        if order(present) != order(expected):
            return f"{order(present)} != {order(expected)}"
        info = info_of(self.source)
        want = {info.key_id(Item.of({"store": a, "sk": b}).typed) for a, b in failed}
        if self.corner.open.keys() != want:
            return f"aside are {set(self.corner.open)}, should be {want}"
        return ""


def info_of(table: Table) -> TableInfo:
    types = dict.fromkeys(table.keys, "S")
    return TableInfo(table.name, table.id, "", table.arn, None, tuple(table.keys), types, 0, 0)


def pages(world: Gathering) -> Iterator[Sequence[Typed]]:
    for segment in range(2):
        after = None
        while True:
            page = world.page(segment, after)
            yield page["Items"]
            after = page.get("LastEvaluatedKey")
            if not after:
                break
