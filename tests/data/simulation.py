"""One adversarial run of the real engine over the fake: a live writer, crashes, late requests."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from fearless.data.context import Settings
from fearless.data.engine import Clients, Machinery, Migration, Pair
from fearless.data.items import Item
from fearless.data.job import Endpoint, Job
from fearless.data.state import Row
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.data.unit import Unit
from fearless.data.worker import Worker
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
    """Sometimes sees that another has died, sometimes only that it is silent."""

    sees: bool = True
    running: list[str] = field(default_factory=list)

    def dead(self, row: Row) -> bool:
        return self.sees and row["owner"] not in self.running


class Simulation:
    """A run from the first item to the last. `z` is how long the engine waits for the dead.

    `late` is how long a request may be under way.

    `paused`: processes also stop in the middle of a request while others run, and go on then.
    """

    keys = "id"
    repairs = True
    back = False

    def __init__(
        self,
        seed: int,
        transform: Transform,
        client: type[Fake] = Fake,
        z: float | None = None,
        paused: bool = False,
        late: float = 5.0,
    ) -> None:
        self.rng = rng = random.Random(seed)
        self.world = World(rng, crash=rng.choice([0, 0.01, 0.03]), lost=rng.choice([0, 0.01]))
        self.world.throttle = rng.choice([0, 0.02, 0.1])
        self.world.busy = rng.choice([0.1, 0.3, 0.6])
        self.world.act = self.write
        self.source = Table(self.world, "source", True, self.keys)
        self.target = Table(self.world, "target", True, self.keys)
        state = Table(self.world, "state", False, "pk")
        self.fake = client(self.world, self.source, self.target, state)
        self.transform = transform
        self.gaps = 0
        self.running: list[str] = []
        if paused:
            self.world.pause = rng.choice([0.005, 0.02])
            late = rng.choice([5.0, 50.0])
            self.world.other = self.other
        self.world.zombie = late
        self.zombie = late if z is None else z
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

    # ------------------------------------------------------------------ processes

    def machinery(self) -> Machinery:
        """Of a new process, which takes the place of the last one that ran here."""
        world, rng = self.world, self.rng
        world.dead = False
        del self.running[world.depth :]
        self.running.append(rng.randbytes(8).hex())
        sees = rng.random() < 0.7
        me = SimulatedOwner("h", "p", 1, "s", self.running[-1], sees, self.running)
        return Machinery(
            clock=world.clock,
            wall=world.clock,
            sleep=world.sleep,
            rng=rng,
            runner=lambda tasks, halt: list(serially(tasks, halt, rng)),
            owner=lambda: me,
            heartbeat=False,
        )

    def settings(self) -> Settings:
        """What every process of the run goes by."""
        return Settings(
            segments=2,
            zombie=self.zombie,
            lease=20.0,
            page=4,
            window=self.rng.choice([3, 1000]),
            buckets=16,
            rounds=2,
            purity=10**6,
        )

    def migration(self, back: bool = False) -> Migration:
        """A new process that coordinates the run, or the way back."""
        return Migration(
            "run",
            [Pair("t", "target", "source") if back else Pair("t", "source", "target")],
            [self.transform],
            Clients(self.fake, self.fake, self.fake, self.fake),
            "state",
            Silent(),
            self.settings(),
            self.machinery(),
            back=back,
        )

    def worker(self, back: bool = False) -> Worker:
        """A new process that performs units."""
        pair = Pair("t", "target", "source") if back else Pair("t", "source", "target")
        nowhere = Endpoint("", "")
        ends = (nowhere, nowhere, nowhere)
        job = Job("run", "state", (pair,), self.settings(), *ends, "", {}, back)
        clients = Clients(self.fake, self.fake, self.fake, self.fake)
        return Worker(job, [self.transform], clients, self.machinery())

    def units(self, back: bool = False) -> list[Unit]:
        """Whatever a worker may be told to do, early, late or twice."""
        table = self.target if back else self.source
        units = [Unit("follow", "t", shard.id, 3.0) for shard in table.shards]
        parts = [f"{side}/{n}" for side in ("source", "target") for n in (0, 1)]
        units += [Unit("digest", "t", part) for part in parts]
        return units if back else [*units, *(Unit("copy", "t", str(n)) for n in (0, 1))]

    def help(self, back: bool = False) -> None:
        """A worker comes, does this and that, and leaves or dies."""
        with self.worker(back) as worker:
            for unit in self.rng.choices(self.units(back), k=self.rng.randint(1, 6)):
                worker.perform(unit)

    def other(self) -> None:
        """What happens while a process is stopped."""
        try:
            match self.rng.random():
                case chance if chance < 0.3:
                    self.world.sleep(self.rng.uniform(0, 60))
                case chance if chance < 0.7:
                    self.help(self.back)
                case chance if chance < 0.9 or not self.repairs:
                    migration = self.migration(self.back)
                    if not self.back:
                        migration.copy()
                    migration.follow()
                case _:
                    self.migration(self.back).repair()
        except Crash:
            return
        except FearlessError as error:
            self.refused(error)

    @staticmethod
    def refused(error: FearlessError) -> None:
        """Whatever the engine says is to be tried again, but for what it says of itself."""
        assert "fault of Fearless" not in str(error), error

    def run(self) -> None:
        """Copy and follow through any number of crashes; end fenced, drained and quiet."""
        for _ in range(60 * (1 + self.gaps)):
            try:
                migration = self.migration()
                migration.copy()
                if migration.follow().phase == "broken":
                    continue
                if self.repairs and self.rng.random() < 0.2:
                    migration.repair()
                break
            except Crash:
                continue
            except FearlessError as error:
                self.refused(error)
        self.left = 0
        self.drain()

    def drain(self) -> None:
        """With the source standing still: apply all of it, through crashes."""
        for attempt in range(30):
            try:
                if not self.back:
                    self.migration().copy()
                if self.migration(self.back).follow().phase == "replay":
                    self.migration(self.back).drain()
                    return
            except Crash:
                self.world.crash = 0
            except FearlessError as error:
                self.refused(error)
                self.world.sleep(10.0)
            if attempt == 10:
                self.world.pause = 0.0
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


class Hard(Simulation):
    """Processes die and stop above all while they write, and repairs run while others write."""

    def __init__(self, seed: int, transform: Transform, **options: Any) -> None:
        super().__init__(seed, transform, **{"paused": True, **options})
        self.world.crash = self.world.crash and 0.01
        self.world.heat = 0.15
        self.world.throttle = min(self.world.throttle, 0.02)

    def run(self) -> None:
        for _ in range(5):
            self.left += 12
            try:
                migration = self.migration()
                migration.copy()
                migration.follow()
                if self.repairs:
                    migration.repair()
            except Crash:
                continue
            except FearlessError as error:
                self.refused(error)
        super().run()


class Unrepaired(Hard):
    """What went wrong stays wrong."""

    repairs = False
