"""Adversarial runs of class 2: shards race each other, requests land late, processes die."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import Caller
from fearless.data.items import Item
from fearless.data.tables import TableInfo
from fearless.data.transfer import Settle, Source, Transfer, no_doubt
from fearless.data.transform import Pipeline
from fearless.data.writer import Op
from fearless.interfaces import Transform
from tests.data.fake import Crash, Fake, Shard, Table, Typed, World

NAMES = ("x", "y", "z")
DEPTH = 4


def by_name(item: Item) -> list[Item]:
    """One output for each name that the item has; names pass from item to item."""
    if item.get("bad"):
        raise ValueError("bad")
    return [
        Item.of({"id": f"name-{name}", "v": item["v"], "n": len(item["names"])})
        for name in item["names"]
    ]


TRANSFER = Transform("by-name", ("t",), by_name, "transferable", owner_attribute="of")


class Telling(Fake):
    """Tells now and then, as some endpoints never do, which item made a condition fail."""

    treacherous = 0.0

    def put_item(self, TableName: str, Item: Typed, **condition: Any) -> Any:
        """Taking over is what may land late more often than anything else."""
        world, usual = self.world, (self.world.crash, self.world.lost)
        if condition.get("ConditionExpression") == "#owner = :owner":
            world.crash, world.lost = usual[0] + self.treacherous / 3, usual[1] + self.treacherous
        try:
            return super().put_item(TableName, Item, **condition)
        finally:
            world.crash, world.lost = usual

    def _write(self, effect: Callable[[], Any]) -> Any:
        try:
            return super()._write(effect)
        except ClientError:
            if self.world.dead:
                raise Crash from None
            raise

    @staticmethod
    def _check(table: Table, key: Typed, condition: Any) -> None:
        try:
            Fake._check(table, key, condition)
        except ClientError as error:
            old = table.items.get(key_id(table, key))
            asked = condition.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            if asked and old is not None and table.world.rng.random() < 0.7:
                error.response["Item"] = dict(old)  # type: ignore[typeddict-unknown-key]
            raise


def key_id(table: Table, item: Typed) -> bytes:
    return TableInfo.key_id(info_of(table), item)


def info_of(table: Table) -> TableInfo:
    types = dict.fromkeys(table.keys, "S")
    return TableInfo(table.name, table.id, "", table.arn, None, tuple(table.keys), types, 0, 0)


class Suspect:
    """A source key to reconcile, once `due`, with target keys it may have left behind."""

    def __init__(self, key: Typed, stale: Sequence[Typed], due: float | None) -> None:
        self.key = key
        self.stale = {key["id"]["S"]: key for key in stale}
        self.due = due


class Race:
    """`transfer` makes what is tested; everything else here is a small engine around it."""

    transfer: type[Transfer] = Transfer
    doubting = True

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.world = World(rng, crash=rng.choice([0, 0.01, 0.03]), lost=rng.choice([0, 0.02, 0.05]))
        self.world.throttle = rng.choice([0, 0.02, 0.1])
        self.world.busy = rng.choice([0.2, 0.4, 0.6])
        self.world.act = self.act
        self.source = Table(self.world, "source", True)
        self.target = Table(self.world, "target", False)
        self.fake = Telling(self.world, self.source, self.target)
        self.fake.treacherous = rng.choice([0, 0.3])
        self.items = [f"k{n}" for n in range(rng.choice([2, 4]))]
        self.all_names = NAMES[: rng.choice([1, 3])]
        self.info = info_of(self.source)
        self.migrate = Pipeline("t", info_of(self.target), [TRANSFER], self.info)
        self.applied: dict[str, int] = {}
        self.busy: set[str] = set()
        self.depth = 0
        self.following = False
        self.suspects: list[Suspect] = []
        self.aside: dict[bytes, Suspect] = {}
        self.takeovers = 0
        self.left = rng.randint(0, 12)
        while self.left:
            self.write()
        self.start = {shard.id: len(shard.records) for shard in self.source.shards}
        self.left = rng.randint(10, 60)

    # ---------------------------------------------------------------- what goes on meanwhile

    def act(self) -> None:
        """Another process does something while one waits for an answer."""
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
        me, chance = self.rng.choice(self.items), self.rng.random()
        if chance < 0.1:
            self.source.delete({"id": {"S": me}})
        elif chance < 0.15:
            self.source.split()
        elif chance < 0.6:
            free = [name for name in self.all_names if not self.holders(name) - {me}]
            self.put(me, self.rng.sample(free, self.rng.randint(0, len(free))))
        elif chance < 0.95:
            name = self.rng.choice(self.all_names)
            moves = [(k, self.names(k) - {name}) for k in self.holders(name)]
            moves.append((me, self.names(me) | {name}))
            if self.rng.random() < 0.2:
                self.rng.shuffle(moves)
            for key, names in moves:
                self.put(key, sorted(names))
        else:
            self.put(me, self.all_names[:2])

    def put(self, key: str, names: Sequence[str]) -> None:
        values = {"id": key, "v": self.rng.randint(1, 9), "names": list(names)}
        if self.rng.random() < 0.03:
            values["bad"] = True
        self.source.put(Item.of(values).typed)

    def names(self, key: str) -> set[str]:
        for item in self.source.items.values():
            if item["id"]["S"] == key:
                return set(Item(item)["names"])
        return set()

    def holders(self, name: str) -> set[str]:
        items = map(Item, self.source.items.values())
        return {item["id"] for item in items if name in item["names"]}

    # ---------------------------------------------------------------- a small engine

    def caller(self, unknown: Callable[[], None]) -> Caller:
        world = self.world
        return Caller(lambda: None, unknown, world.clock, world.sleep, rng=self.rng)

    def read(self, key: Typed) -> Typed | None:
        caller = self.caller(lambda: None)
        answer = caller.read(self.fake.get_item, TableName="source", Key=key, ConsistentRead=True)
        item: Typed | None = answer.get("Item")
        return item

    def transferer(self, caller: Caller, copying: bool = False) -> tuple[Transfer, list[Suspect]]:
        """What is tested, and the doubts that die with its process."""
        raised: list[Suspect] = []

        def doubt(pairs: Sequence[tuple[Typed, Typed]]) -> Settle:
            self.takeovers += 1
            entries = [Suspect(key, [target], None) for key, target in pairs]
            raised.extend(entries)
            self.suspects.extend(entries)

            def settle(safe: bool) -> None:
                for entry in entries:
                    raised.remove(entry)
                    if safe:
                        self.suspects.remove(entry)
                    else:
                        entry.due = self.world.now + self.world.zombie

            return settle

        def collided(key: Typed, message: str, target: Typed) -> None:
            self.quarantine(key, [target])

        quiet = copying or not self.doubting
        transfer = self.transfer(
            self.fake,
            info_of(self.target),
            caller,
            Source(self.info, self.migrate, self.read),
            no_doubt if quiet else doubt,
            collided,
            lanes=self.rng.choice([1, 3]),
        )
        return transfer, raised

    def quarantine(self, key: Typed, held: Sequence[Typed]) -> None:
        row = self.aside.setdefault(self.info.key_id(key), Suspect(key, [], None))
        row.stale.update({k["id"]["S"]: k for k in held})

    def ops(self, key: Typed, states: Sequence[Typed | None]) -> tuple[bool, list[Op]]:
        """As in apply: delete what all states but the last left, put what the last one makes."""
        source_id = self.info.key_id(key)
        held = self.aside[source_id].stale.values() if source_id in self.aside else ()
        stale = {self.info.key_id(k): k for k in held}
        for state in states[:-1]:
            for output in self.migrate(state).outputs.values():
                stale[self.info.key_id(output)] = self.info.key(output)
        last = self.migrate(states[-1])
        if last.failure:
            self.quarantine(key, list(stale.values()))
            return False, []
        puts = last.outputs
        ops = [Op(k, v, None, source_id) for k, v in stale.items() if k not in puts]
        return True, ops + [Op(k, self.info.key(v), v, source_id) for k, v in puts.items()]

    def settle(self, ops: Sequence[Op], keys: dict[bytes, Typed], transfer: Transfer) -> None:
        self.rng.shuffle(ops := list(ops))
        refused = {answer.op.source for answer in transfer.write(ops)}
        for source_id, key in keys.items():
            if source_id in refused:
                self.quarantine(key, [op.key for op in ops if op.source == source_id])
            else:
                self.aside.pop(source_id, None)

    def copy(self) -> None:
        segments: dict[int, Any] = {0: None, 1: None}
        while segments:
            segment = self.rng.choice(sorted(segments))
            try:
                after = self.page(segment, segments[segment])
            except Crash:
                self.world.dead = False
                continue
            segments[segment] = after
            if not after:
                del segments[segment]

    def page(self, segment: int, after: Any) -> Any:
        more = {"ExclusiveStartKey": after} if after else {}
        caller = self.caller(lambda: None)
        page = caller.read(
            self.fake.scan,
            TableName="source",
            ConsistentRead=True,
            Segment=segment,
            TotalSegments=2,
            **more,
        )
        ops, keys = [], {}
        for item in page["Items"]:
            good, wanted = self.ops(self.info.key(item), [item])
            ops += [op for op in wanted if op.item]
            if good:
                keys[self.info.key_id(item)] = self.info.key(item)
        transfer, _ = self.transferer(caller, copying=True)
        self.settle(ops, keys, transfer)
        return page.get("LastEvaluatedKey")

    def ready(self) -> Iterator[Shard]:
        for shard in self.source.shards:
            unread = self.position(shard) < len(shard.records)
            if unread and shard.id not in self.busy and all(map(self.read_up, self.line(shard))):
                yield shard

    def line(self, shard: Shard) -> Iterator[Shard]:
        """The shards before this one."""
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
        lanes: dict[bytes, tuple[Typed, list[Typed | None]]] = {}
        for record in records:
            change = record["dynamodb"]
            source_id = self.info.key_id(change["Keys"])
            _, states = lanes.setdefault(source_id, (change["Keys"], [change.get("OldImage")]))
            states.append(change.get("NewImage"))
        missed: list[bool] = []
        transfer, raised = self.transferer(self.caller(lambda: missed.append(True)))
        ops: list[Op] = []
        keys: dict[bytes, Typed] = {}
        self.busy.add(shard.id)
        try:
            for source_id, (key, states) in lanes.items():
                good, wanted = self.ops(key, states)
                ops += wanted
                if good:
                    keys[source_id] = key
            self.settle(ops, keys, transfer)
            self.applied[shard.id] = at + len(records)
        except Crash:
            missed.append(True)
            raise
        finally:
            self.busy.remove(shard.id)
            due = self.world.now + self.world.zombie
            for entry in raised:
                entry.due = due
            if missed:
                for source_id, (key, _) in lanes.items():
                    left = [op.key for op in ops if op.source == source_id]
                    self.suspects.append(Suspect(key, left, due))
        return True

    def reconcile_one(self) -> bool:
        due = [s for s in self.suspects if s.due is not None and s.due <= self.world.now]
        if not due:
            return False
        suspect = self.rng.choice(due)
        suspect.due = None
        try:
            self.reconcile(suspect)
        except Crash:
            suspect.due = self.world.now + self.world.zombie
            raise
        return True

    def reconcile(self, suspect: Suspect) -> None:
        """Until the source stood still; unanswered requests make it suspect again."""
        missed: list[bool] = []
        transfer, raised = self.transferer(self.caller(lambda: missed.append(True)))
        try:
            while True:
                before = self.read(suspect.key)
                good, ops = self.ops(suspect.key, [before])
                asked = {op.key_id for op in ops}
                source_id = self.info.key_id(suspect.key)
                for key in suspect.stale.values():
                    if good and self.info.key_id(key) not in asked:
                        ops.append(Op(self.info.key_id(key), key, None, source_id))
                suspect.stale.update({op.key["id"]["S"]: op.key for op in ops})
                keys = {source_id: suspect.key} if good else {}
                self.settle(ops, keys, transfer)
                if self.read(suspect.key) == before:
                    break
        finally:
            for entry in raised:
                entry.due = self.world.now + self.world.zombie
        if missed:
            suspect.due = self.world.now + self.world.zombie
        elif suspect in self.suspects:
            self.suspects.remove(suspect)

    # ---------------------------------------------------------------- a whole run

    def run(self) -> None:
        self.copy()
        self.world.sleep(self.world.zombie)
        self.following = True
        while self.left > 0:
            self.world.sleep(0.1)
            try:
                self.step()
            except Crash:
                self.world.dead = False
            self.write()
        while self.step_quietly():
            pass
        world = self.world
        world.crash = world.lost = world.throttle = self.fake.treacherous = 0.0
        rounds = 0
        while (self.suspects or any(self.ready())) and rounds < 200:
            rounds += 1
            self.step()
            self.reconcile_one()
            self.world.sleep(1.0)
        self.world.settle()
        for _ in range(6):
            for row in list(self.aside.values()):
                self.reconcile(Suspect(row.key, list(row.stale.values()), None))

    def step_quietly(self) -> bool:
        try:
            return self.step()
        except Crash:
            self.world.dead = False
            return True

    def wrong(self) -> str:
        """What is wrong at the end, by the tables alone."""
        if self.suspects:
            return "never quiet"
        wanted: dict[str, list[tuple[str, Typed]]] = {}
        bad = set()
        for typed in self.source.items.values():
            item = Item(typed)
            if item.get("bad"):
                bad.add(item["id"])
                continue
            for output in by_name(item):
                want = {**output.typed, "of": {"M": {"id": typed["id"]}}}
                wanted.setdefault(output["id"], []).append((item["id"], want))
        aside = {row.key["id"]["S"] for row in self.aside.values()}
        present = {item["id"]["S"]: item for item in self.target.items.values()}
        allowed = set(bad)
        for name, claims in wanted.items():
            have = present.pop(name, None)
            owners = {key for key, _ in claims}
            if len(claims) > 1:
                allowed |= owners
                if len(owners - aside) > 1:
                    return f"{name}: of {owners} only {owners & aside} are aside"
                stranger = have is not None and have not in [want for _, want in claims]
                if have and stranger and have["of"]["M"]["id"]["S"] not in bad:
                    return f"{name} is nobody's: {have}"
            elif have != claims[0][1]:
                holder = have and have["of"]["M"]["id"]["S"]
                if holder in bad:
                    allowed |= owners
                    if owners <= aside:
                        continue
                return f"{name} is {have}, not {claims[0][1]}"
        extra = {n: i for n, i in present.items() if i["of"]["M"]["id"]["S"] not in bad}
        if extra:
            return f"extra: {extra}"
        if not bad <= aside or not aside <= allowed:
            return f"aside are {aside}, should be {bad} and at most {allowed}"
        return ""
