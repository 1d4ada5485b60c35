"""One adversarial run of the real engine over the fake: a live writer, crashes, late requests."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from fearless.data.context import Settings
from fearless.data.engine import Clients, Machinery, Migration, Pair
from fearless.data.items import Item
from fearless.data.state import Row
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.errors import FearlessError
from fearless.interfaces import Transform, Verdict
from fearless.owner import Owner
from tests.data.fake import Crash, Fake, Shard, Table, World, serially


class Silent:
    def line(self, text: str) -> None:
        pass

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        pass


def keep(item: Item) -> Item | None:
    """Rename, and drop some."""
    value = int(item["v"])
    if value % 5 == 0:
        return None
    item.rename("v", "value")
    return item


def rekey(item: Item) -> list[Item]:
    """The key depends on the value, and there are 0 to 2 outputs."""
    value = int(item["v"])
    return [
        Item.of({"id": f"{item['id']}#{(value + n) % 4}", "value": value, "n": n})
        for n in range(value % 3)
    ]


def owner(key: Item) -> Item:
    return Item.of({"id": key["id"].split("#")[0]})


def fragile(item: Item) -> list[Item]:
    if int(item["v"]) % 7 == 0:
        raise ValueError("bad value")
    return rekey(item)


KEEP = Transform("keep", ("t",), keep)
REKEY = Transform("rekey", ("t",), rekey, "owned", owner)
FRAGILE = Transform("fragile", ("t",), fragile, "owned", owner)


@dataclass(frozen=True)
class SimulatedOwner(Owner):
    """Sometimes known to be dead, sometimes only silent."""

    sees: bool = True

    def dead(self, row: Row) -> bool:
        return self.sees


class Simulation:
    """`broken(migration)` may spoil the engine after it is made."""

    def __init__(self, seed: int, transform: Transform, client: type[Fake] = Fake, z: float = 5.0):
        self.rng = rng = random.Random(seed)
        self.world = World(rng, crash=rng.choice([0, 0.01, 0.03]), lost=rng.choice([0, 0.01]))
        self.world.throttle = rng.choice([0, 0.02, 0.1])
        self.world.busy = rng.choice([0.1, 0.3, 0.6])
        self.world.act = self.write
        self.source = Table(self.world, "source", True)
        self.target = Table(self.world, "target", True)
        state = Table(self.world, "state", False, "pk")
        self.fake = client(self.world, self.source, self.target, state)
        self.transform = transform
        self.zombie = z
        self.gaps = 0
        self.left = rng.randint(5, 40)
        for _ in range(rng.randint(0, 12)):
            self.write()
        self.world.now += rng.choice([0, 1000])
        self.left = rng.randint(5, 40)

    def write(self) -> None:
        if self.left <= 0:
            return
        self.left -= 1
        key = f"k{self.rng.randint(0, 4)}"
        match self.rng.random():
            case chance if chance < 0.25:
                self.source.delete({"id": {"S": key}})
            case chance if chance < 0.32:
                self.source.split()
            case chance if chance < 0.4 and self.gaps:
                self.gap()
            case _:
                self.source.put({"id": {"S": key}, "v": {"N": str(self.rng.randint(1, 12))}})

    def gap(self) -> None:
        """Lose changes: trimmed, a shard gone, or another stream."""
        self.gaps -= 1
        source = self.source
        match self.rng.randint(0, 2):
            case 0:
                self.world.now += 25 * 3600
                for shard in source.shards:
                    shard.trimmed = len(shard.records)
            case 1:
                shard = self.rng.choice([s for s in source.shards if not s.closed])
                shard.closed = True
                children = [Shard(f"{shard.id}{bit}", shard.id, shard.prefix + bit) for bit in "01"]
                source.shards = [s for s in source.shards if s is not shard] + children
            case _:
                source.arn = f"{source.arn}+"
                source.shards = [Shard(f"{source.arn}-shard", None, "")]

    def migration(self) -> Migration:
        world, rng = self.world, self.rng
        world.dead = False
        me = SimulatedOwner("h", "p", 1, "s", rng.randbytes(8).hex(), rng.random() < 0.7)
        return Migration(
            "run",
            [Pair("t", "source", "target")],
            [self.transform],
            Clients(self.fake, self.fake, self.fake, self.fake),
            "state",
            Silent(),
            Settings(segments=2, zombie=self.zombie, page=4, buckets=16, rounds=2, purity=10**6),
            Machinery(
                clock=world.clock,
                wall=world.clock,
                sleep=world.sleep,
                rng=rng,
                runner=lambda tasks, halt: list(serially(tasks, halt, rng)),
                owner=lambda: me,
                heartbeat=False,
            ),
        )

    def run(self) -> None:
        """Copy and follow through any number of crashes; end fenced, drained and quiet."""
        for _ in range(60 * (1 + self.gaps)):
            try:
                migration = self.migration()
                migration.copy()
                if migration.follow().phase == "broken":
                    continue
                if self.rng.random() < 0.2:
                    migration.repair()
                break
            except (Crash, FearlessError):
                continue
        self.left = 0
        for _ in range(20):
            try:
                self.migration().copy()
                if self.migration().follow().phase == "replay":
                    self.migration().drain()
                    return
            except Crash:
                self.world.crash = 0
        raise AssertionError("never came to an end")

    def verdict(self) -> Verdict:
        self.world.settle()
        return self.migration().verify()

    def wrong(self) -> str:
        """What is wrong at the end; computed from the tables alone."""
        self.world.settle()
        info = TableInfo.of(self.fake.describe_table("target")["Table"])
        migrate = Pipeline("t", info, [self.transform])
        expected: dict[bytes, Any] = {}
        failed = set()
        for item in self.source.items.values():
            if info.sentinel(item):
                continue
            outcome = migrate(item)
            expected |= outcome.outputs
            if outcome.failure:
                failed.add(item["id"]["S"])
        present = {
            key_id: item
            for key_id, item in self.target.items.items()
            if item["id"]["S"].split("#")[0] not in failed
        }
        quarantined = {row["key"]["id"]["S"] for row in self.migration().quarantine()}
        if quarantined != failed:
            return f"quarantine is {quarantined}, should be {failed}"
        return "" if present == expected else f"{present} != {expected}"
