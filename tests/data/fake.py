"""Tables and streams in memory, whose every call may be late, cut off, doubled or incomplete."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from fearless.data.canonical import item_bytes, short_hash

Typed = dict[str, Any]


class Crash(BaseException):
    """The process is killed here."""


def failure(code: str, status: int = 400, message: str = "") -> ClientError:
    error = {"Code": code, "Message": message or code}
    return ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "Fake")


@dataclass
class World:
    """Time, chance, and what others do meanwhile. `zombie`: a lost request lands within it.

    `heat` is how much likelier than otherwise a process dies or stops while it writes batches, and
    `pause` is how likely a process stops between making a request and sending it, while `other`
    happens; the request is refused for its age when it is sent after more than `zombie`.
    """

    rng: random.Random
    zombie: float = 5.0
    crash: float = 0.0
    lost: float = 0.0
    throttle: float = 0.0
    busy: float = 0.0
    pause: float = 0.0
    heat: float = 0.0
    hot: float = 0.0
    depth: int = 0
    dead: bool = False
    crash_in: int | None = None
    now: float = 1_800_000_000.0
    act: Callable[[], None] = lambda: None
    other: Callable[[], None] = lambda: None
    landing: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + max(0.05, seconds / 4))
            self.pass_time()

    def pass_time(self) -> None:
        due = [entry for entry in self.landing if entry[0] <= self.now]
        self.landing = [entry for entry in self.landing if entry[0] > self.now]
        for _, effect in sorted(due, key=lambda entry: entry[0]):
            effect()
        if self.rng.random() < self.busy:
            self.act()

    def late(self, effect: Callable[[], Any]) -> None:
        self.landing.append((self.now + self.rng.uniform(0, self.zombie * 0.99), effect))

    def interlude(self) -> None:
        """Stop the process that is running now and then, and let others run meanwhile."""
        if self.dead:
            raise Crash
        if not self.pause or self.depth > 1:
            return
        hot, self.hot = self.hot, 0.0
        if self.rng.random() >= (self.pause + hot) / (1 + self.depth):
            self.hot = hot
            return
        signed = self.now
        self.depth += 1
        try:
            self.other()
        finally:
            self.depth -= 1
            self.dead, self.hot = False, hot
        if self.now - signed > self.zombie:
            raise failure("InvalidSignatureException", message="Signature expired")

    def dies(self) -> bool:
        """Whether the process that is running is killed now."""
        if self.crash_in is not None:
            self.crash_in -= 1
            self.dead = self.crash_in <= 0
            if self.dead:
                self.crash_in = None
        if self.rng.random() < self.crash + (self.hot if self.crash else 0):
            self.dead = True
        return self.dead

    def settle(self) -> None:
        """Everything under way lands; nothing goes wrong any more."""
        self.crash = self.lost = self.throttle = self.busy = self.pause = 0.0
        self.crash_in = None
        self.now += self.zombie
        self.pass_time()


@dataclass
class Shard:
    id: str
    parent: str | None
    prefix: str
    records: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False
    trimmed: int = 0


class Table:
    """One table; `stale` is what an eventually consistent read may still see."""

    def __init__(self, world: World, name: str, stream: bool, hash_key: str = "id") -> None:
        self.world = world
        self.name = name
        self.hash_key = hash_key
        self.keys = ["pk", "sk"] if hash_key == "pk" else [hash_key]
        self.items: dict[bytes, Typed] = {}
        self.stale: dict[bytes, Typed] = {}
        self.id = f"id-{name}"
        self.arn = f"arn:{name}/stream/1" if stream else None
        self.shards = [Shard("shard-0", None, "")]
        self.sequence = 10**20

    def put(self, item: Typed) -> None:
        key = item_bytes({name: item[name] for name in self.keys})
        self._change(key, dict(item))

    def delete(self, key: Typed, **more: Any) -> None:
        self._change(item_bytes({name: key[name] for name in self.keys}), None, **more)

    def expire(self, key: Typed) -> None:
        """Delete an item as DynamoDB does when its time has come."""
        identity = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
        self.delete(key, userIdentity=identity)

    def _change(self, key_id: bytes, new: Typed | None, **more: Any) -> None:
        old = self.items.get(key_id)
        if self.world.rng.random() < 0.3:
            self.stale = dict(self.items)
        if old == new:
            return
        if new is None:
            del self.items[key_id]
        else:
            self.items[key_id] = new
        if self.arn is None:
            return
        self.sequence += self.world.rng.randint(1, 10**15)
        change: dict[str, Any] = {
            "Keys": {name: (new or old or {})[name] for name in self.keys},
            "SequenceNumber": str(self.sequence),
            "ApproximateCreationDateTime": datetime.fromtimestamp(self.world.now, UTC),
        }
        if old is not None:
            change["OldImage"] = old
        if new is not None:
            change["NewImage"] = new
        bits = f"{short_hash(key_id):064b}"
        (leaf,) = [s for s in self.shards if not s.closed and bits.startswith(s.prefix)]
        leaf.records.append({"dynamodb": change, **more})

    def split(self) -> None:
        """Close an open shard; two children take over, each half of its keys."""
        shard = self.world.rng.choice([s for s in self.shards if not s.closed])
        if len(shard.prefix) > 3:
            return
        shard.closed = True
        for bit in "01":
            self.shards.append(Shard(f"shard-{len(self.shards)}", shard.id, shard.prefix + bit))
        self.world.rng.shuffle(self.shards)

    def find(self, shard_id: str) -> Shard:
        for shard in self.shards:
            if shard.id == shard_id:
                return shard
        raise failure("ResourceNotFoundException")


class Fake:
    """The low-level client of both DynamoDB and its streams, over a world's tables."""

    def __init__(self, world: World, *tables: Table) -> None:
        self.world = world
        self.tables = {table.name: table for table in tables}

    # ---------------------------------------------------------------- trouble

    def _read(self) -> None:
        world = self.world
        world.interlude()
        world.now += 0.01
        world.pass_time()
        if world.dies():
            raise Crash
        if world.rng.random() < world.throttle:
            raise failure("ThrottlingException")

    def _write(self, effect: Callable[[], Any]) -> Any:
        world = self.world
        world.interlude()
        world.now += 0.01
        world.pass_time()
        chance = world.rng.random
        if world.dies():
            if chance() < 0.5:
                effect()
            elif chance() < 0.7:
                world.late(lambda: _quietly(effect))
            raise Crash
        if chance() < world.lost:
            if chance() < 0.5:
                effect()
            else:
                world.late(lambda: _quietly(effect))
            raise ReadTimeoutError(endpoint_url="http://fake")
        if chance() < world.throttle:
            raise failure("ProvisionedThroughputExceededException")
        return effect()

    # ---------------------------------------------------------------- tables

    def describe_table(self, TableName: str) -> Any:
        self._read()
        table = self.tables[TableName]
        roles = zip(table.keys, ("HASH", "RANGE"), strict=False)
        description: dict[str, Any] = {
            "TableName": TableName,
            "TableId": table.id,
            "TableArn": f"arn:{TableName}",
            "KeySchema": [{"AttributeName": n, "KeyType": role} for n, role in roles],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": "S"} for name in table.keys
            ],
        }
        if table.arn:
            description["LatestStreamArn"] = table.arn
            description["StreamSpecification"] = {
                "StreamEnabled": True,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            }
        return {"Table": description}

    def describe_time_to_live(self, TableName: str) -> Any:
        self._read()
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}

    def scan(
        self,
        TableName: str,
        ConsistentRead: bool = False,
        Segment: int = 0,
        TotalSegments: int = 1,
        ExclusiveStartKey: Typed | None = None,
        Limit: int = 3,
    ) -> Any:
        self._read()
        table = self.tables[TableName]
        seen = table.items if ConsistentRead else table.stale
        order = sorted((short_hash(k), k) for k in seen if short_hash(k) % TotalSegments == Segment)
        if ExclusiveStartKey:
            after = short_hash(item_bytes({n: ExclusiveStartKey[n] for n in table.keys}))
            order = [entry for entry in order if entry[0] > after]
        size = self.world.rng.randint(1, Limit)
        page: dict[str, Any] = {"Items": [dict(seen[k]) for _, k in order[:size]]}
        if len(order) > size:
            last = page["Items"][-1]
            page["LastEvaluatedKey"] = {name: last[name] for name in table.keys}
        return page

    def get_item(self, TableName: str, Key: Typed, ConsistentRead: bool = False) -> Any:
        self._read()
        table = self.tables[TableName]
        item = table.items.get(item_bytes({name: Key[name] for name in table.keys}))
        return {} if item is None else {"Item": dict(item)}

    def query(self, TableName: str, ExpressionAttributeValues: Typed, **_: Any) -> Any:
        self._read()
        values = ExpressionAttributeValues
        table = self.tables[TableName]
        hash_value = values.get(":pk") or values[":hash"]
        prefix = values.get(":prefix", {"S": ""})["S"]
        found = [
            dict(item)
            for item in table.items.values()
            if item[table.keys[0]] == hash_value
            and (len(table.keys) < 2 or item[table.keys[1]]["S"].startswith(prefix))
        ]
        return {"Items": sorted(found, key=lambda item: item[table.keys[-1]]["S"])}

    def batch_get_item(self, RequestItems: Any) -> Any:
        self._read()
        ((name, wanted),) = RequestItems.items()
        table = self.tables[name]
        ids = [item_bytes({n: key[n] for n in table.keys}) for key in wanted["Keys"]]
        assert len(ids) == len(set(ids)) <= 100
        seen = table.items if wanted.get("ConsistentRead") else table.stale
        done = self.world.rng.randint(1, len(ids)) if self.world.throttle else len(ids)
        answer: dict[str, Any] = {
            "Responses": {name: [dict(seen[key]) for key in ids[:done] if key in seen]}
        }
        if done < len(ids):
            answer["UnprocessedKeys"] = {name: {**wanted, "Keys": wanted["Keys"][done:]}}
        return answer

    def put_item(self, TableName: str, Item: Typed, **condition: Any) -> Any:
        table = self.tables[TableName]

        def effect() -> dict[str, Any]:
            self._check(table, Item, condition)
            table.put(Item)
            return {}

        return self._write(effect)

    def delete_item(self, TableName: str, Key: Typed, **condition: Any) -> Any:
        table = self.tables[TableName]

        def effect() -> dict[str, Any]:
            self._check(table, Key, condition)
            table.delete(Key)
            return {}

        return self._write(effect)

    def batch_write_item(self, RequestItems: Any) -> Any:
        ((name, requests),) = RequestItems.items()
        table = self.tables[name]
        keys = [next(iter(r.values())).get("Key") or r["PutRequest"]["Item"] for r in requests]
        identities = {item_bytes({n: key[n] for n in table.keys}) for key in keys}
        if len(requests) > 25 or len(identities) < len(requests):
            raise failure("ValidationException")
        if any("poison" in r.get("PutRequest", {}).get("Item", {}) for r in requests):
            raise failure("ValidationException")
        done = len(requests)
        if self.world.rng.random() < self.world.throttle:
            done = self.world.rng.randint(0, len(requests))

        def effect() -> dict[str, Any]:
            for request in requests[:done]:
                if "PutRequest" in request:
                    table.put(request["PutRequest"]["Item"])
                else:
                    table.delete(request["DeleteRequest"]["Key"])
            return {"UnprocessedItems": {name: requests[done:]} if requests[done:] else {}}

        self.world.hot = self.world.heat
        try:
            return self._write(effect)
        finally:
            self.world.hot = 0.0

    @staticmethod
    def _check(table: Table, key: Typed, condition: Any) -> None:
        expression = condition.get("ConditionExpression")
        if expression is None:
            return
        names = condition.get("ExpressionAttributeNames", {})
        values = condition.get("ExpressionAttributeValues", {})
        old = table.items.get(item_bytes({name: key[name] for name in table.keys}))
        for part in expression.split(" OR "):
            if part.startswith("attribute_not_exists"):
                if old is None:
                    return
                continue
            name, sign, value = part.split(" ")
            found = (old or {}).get(names.get(name, name))
            if found is None:
                continue
            if sign == "=" and found == values[value]:
                return
            if sign == "<" and int(found["N"]) < int(values[value]["N"]):
                return
        raise failure("ConditionalCheckFailedException")

    # ---------------------------------------------------------------- streams

    def _stream(self, arn: str) -> Table:
        for table in self.tables.values():
            if table.arn == arn:
                return table
        raise failure("ResourceNotFoundException")

    def describe_stream(self, StreamArn: str) -> Any:
        self._read()
        table = self._stream(StreamArn)
        date = format_datetime(datetime.fromtimestamp(self.world.now, UTC), usegmt=True)
        return {
            "StreamDescription": {
                "StreamStatus": "ENABLED",
                "StreamViewType": "NEW_AND_OLD_IMAGES",
                "Shards": [
                    {
                        "ShardId": s.id,
                        "SequenceNumberRange": {"EndingSequenceNumber": "1"} if s.closed else {},
                        **({"ParentShardId": s.parent} if s.parent else {}),
                    }
                    for s in table.shards
                ],
            },
            "ResponseMetadata": {"HTTPHeaders": {"date": date}},
        }

    def get_shard_iterator(
        self, StreamArn: str, ShardId: str, ShardIteratorType: str, SequenceNumber: str = ""
    ) -> Any:
        self._read()
        shard = self._stream(StreamArn).find(ShardId)
        at = shard.trimmed
        if ShardIteratorType == "LATEST":
            at = len(shard.records)
        elif ShardIteratorType == "AFTER_SEQUENCE_NUMBER":
            numbers = [r["dynamodb"]["SequenceNumber"] for r in shard.records]
            at = numbers.index(SequenceNumber) + 1
            if at < shard.trimmed:
                raise failure("TrimmedDataAccessException")
        return {"ShardIterator": f"{StreamArn}|{ShardId}|{at}"}

    def get_records(self, ShardIterator: str, Limit: int) -> Any:
        self._read()
        if self.world.rng.random() < self.world.throttle / 4:
            raise failure("ExpiredIteratorException")
        arn, shard_id, at = ShardIterator.split("|")
        shard = self._stream(arn).find(shard_id)
        if int(at) < shard.trimmed:
            raise failure("TrimmedDataAccessException")
        size = self.world.rng.choice([0, 1, 2, 5, Limit])
        records = shard.records[int(at) :][:size]
        answer: dict[str, Any] = {"Records": records}
        end = int(at) + len(records)
        if not (shard.closed and end == len(shard.records)):
            answer["NextShardIterator"] = f"{arn}|{shard_id}|{end}"
        return answer


def _quietly(effect: Callable[[], Any]) -> None:
    try:
        effect()
    except ClientError:
        return


def serially(tasks: Any, halt: Any, rng: random.Random) -> Iterator[Any]:
    order = list(range(len(tasks)))
    rng.shuffle(order)
    answers = {index: tasks[index]() for index in order}
    return iter([answers[index] for index in range(len(tasks))])
