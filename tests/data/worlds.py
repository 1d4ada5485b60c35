"""Real tables on the emulator, a live writer, and clients on which things go wrong."""

from __future__ import annotations

import math
import random
import threading
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from fearless.data.canonical import item_bytes
from fearless.data.context import Settings
from fearless.data.engine import Clients, Migration, Pair
from fearless.data.items import Item
from fearless.interfaces import Transform
from fearless.testing.emulator import Emulator


def rename(item: Item) -> Item | None:
    """Rename an attribute; drop what is obsolete."""
    if item.get("obsolete"):
        return None
    if "title" in item:
        item.rename("title", "name")
    return item


def split(item: Item) -> list[Item]:
    """One more item for each tag."""
    outputs = [item]
    if "tags" in item:
        for tag in sorted(item["tags"]):
            extra = Item.of({"pk": f"{item['pk']}/{tag}", "sk": item["sk"], "tag": tag})
            outputs.append(extra)
    return outputs


def split_owner(key: Item) -> Item:
    return Item.of({"pk": key["pk"].split("/")[0], "sk": key["sk"]})


RENAME = Transform("rename", ("a", "b"), rename)
SPLIT = Transform("split", ("b",), split, "owned", split_owner)
TRANSFORMS = (RENAME, SPLIT)
NAMES = ("a", "b", "c")
FAST = Settings(
    segments=4,
    zombie=0.3,
    skew=2.0,
    poll=0.05,
    tip_polls=2,
    near=1.0,
    rounds=3,
    lease=30.0,
    drain=20.0,
)


class Tables:
    """Three source tables with streams, three targets and a state table, all new."""

    def __init__(self, emulator: Emulator, names: Sequence[str] = NAMES) -> None:
        self.emulator = emulator
        self.client = emulator.client("dynamodb")
        self.streams = emulator.client("dynamodbstreams")
        self.tag = uuid.uuid4().hex[:8]
        self.names = tuple(names)
        self.state = f"state-{self.tag}"
        for name in names:
            self.create(self.source(name), stream=True)
            self.create(self.target(name), stream=True)
        self.create(self.state, stream=False)
        for table in (*map(self.source, names), *map(self.target, names), self.state):
            self.client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})

    def source(self, name: str) -> str:
        return f"source-{name}-{self.tag}"

    def target(self, name: str) -> str:
        return f"target-{name}-{self.tag}"

    def create(self, table: str, stream: bool) -> None:
        stream_settings = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        self.client.create_table(
            TableName=table,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
            **({"StreamSpecification": stream_settings} if stream else {}),
        )

    def migration(
        self,
        report: Any,
        client: Any = None,
        transforms: Sequence[Transform] = TRANSFORMS,
        settings: Settings = FAST,
        **more: Any,
    ) -> Migration:
        """Of the run; `more` as a Migration takes it, or `state` and `streams`, clients."""
        client = client or self.client
        streams = more.pop("streams", self.streams)
        return Migration(
            "run",
            self.pairs(more.get("back", False)),
            transforms,
            Clients(client, streams, client, more.pop("state", client), streams),
            self.state,
            report,
            settings,
            **more,
        )

    def pairs(self, back: bool = False) -> list[Pair]:
        """The tables of the run, or of its way back."""
        found = [(name, self.source(name), self.target(name)) for name in self.names]
        return [Pair(n, new, old) if back else Pair(n, old, new) for n, old, new in found]

    def delete(self) -> None:
        """All of them."""
        for name in self.names:
            self.client.delete_table(TableName=self.source(name))
            self.client.delete_table(TableName=self.target(name))
        self.client.delete_table(TableName=self.state)

    def fill(self, count: int, seed: int = 1) -> None:
        rng = random.Random(seed)
        for name in self.names:
            items = [random_item(rng, n) for n in range(count)]
            for start in range(0, count, 25):
                batch = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
                self.client.batch_write_item(RequestItems={self.source(name): batch})

    def all(self, table: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def expected(self, name: str, transforms: Sequence[Transform]) -> dict[bytes, bytes]:
        """T(source), by a few lines that share nothing with the engine but Item."""
        items = [Item(item) for item in self.all(self.source(name))]
        for transform in transforms:
            if name in transform.tables:
                answers = [transform.up(item.copy()) for item in items]
                items = []
                for answer in answers:
                    if isinstance(answer, Item):
                        items.append(answer)
                    elif answer is not None:
                        items += answer
        return {item_bytes(key_of(i.typed)): item_bytes(i.typed) for i in items}

    def present(self, name: str) -> dict[bytes, bytes]:
        return {item_bytes(key_of(i)): item_bytes(i) for i in self.all(self.target(name))}

    def equal(self, transforms: Sequence[Transform] = TRANSFORMS) -> bool:
        return all(self.present(n) == self.expected(n, transforms) for n in self.names)


def key_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"pk": item["pk"], "sk": item["sk"]}


def random_item(rng: random.Random, number: int) -> dict[str, Any]:
    """About 400 bytes, with everything that is hard to keep exact."""
    item = Item.of(
        {
            "pk": f"p{number % 50}",
            "sk": f"s{number}",
            "title": f"a title {rng.randint(0, 10**6)}",
            "price": Decimal(rng.randint(1, 10**37)).scaleb(-rng.randint(0, 30)),
            "raw": rng.randbytes(24) + b"\0\0",
            "empty": "",
            "nothing": None,
            "nested": {"list": [1, Decimal("1.50"), {"deep": b"\0"}], "flag": True},
            "text": "x" * rng.randint(100, 250),
        }
    )
    if rng.random() < 0.3:
        item["tags"] = {f"t{rng.randint(0, 3)}" for _ in range(2)}
    if rng.random() < 0.1:
        item["obsolete"] = True
    return item.typed


class LiveWriter(threading.Thread):
    """Changes the sources at random until stopped: few keys, so the same ones again and again.

    Some hundred times a second: faster, all a test did on a small machine would be to catch up.
    """

    def __init__(self, tables: Tables, seed: int, keys: int = 200) -> None:
        super().__init__(name="writer")
        self.tables = tables
        self.client = tables.emulator.client("dynamodb")
        self.rng = random.Random(seed)
        self.keys = keys
        self.stopping = threading.Event()
        self.writes = 0

    def run(self) -> None:
        while not self.stopping.wait(self.rng.uniform(0.0, 0.016)):
            table = self.tables.source(self.rng.choice(self.tables.names))
            item = random_item(self.rng, self.rng.randrange(self.keys))
            chance = self.rng.random()
            if chance < 0.55:
                self.client.put_item(TableName=table, Item=item)
            elif chance < 0.75:
                self.client.delete_item(TableName=table, Key=key_of(item))
            elif chance < 0.85:
                self.client.delete_item(TableName=table, Key=key_of(item))
                self.client.put_item(TableName=table, Item=item)
            else:
                self.client.update_item(
                    TableName=table,
                    Key=key_of(item),
                    UpdateExpression="SET title = :t REMOVE tags",
                    ExpressionAttributeValues={":t": {"S": f"u{self.rng.random()}"}},
                )
            self.writes += 1

    def __enter__(self) -> LiveWriter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join(30)


class Flaky:
    """A client whose calls are throttled, half done, or done but not answered.

    At most `throttles` times there is too little capacity; who believes that goes slower for long.
    """

    def __init__(
        self, client: Any, seed: int, rate: float = 0.05, throttles: float = math.inf
    ) -> None:
        self._client = client
        self._rng = random.Random(seed)
        self._rate = rate
        self._throttles = throttles
        self.trouble = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**request: Any) -> Any:
            chance = self._rng.random()
            if self._throttles <= 0 and chance < 4 * self._rate:
                return method(**request)
            if chance < self._rate:
                self._throttles -= 1
                self.trouble += 1
                raise ClientError(
                    {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}},
                    name,
                )
            if name == "batch_write_item" and chance < 4 * self._rate:
                return self._half(request["RequestItems"])
            answer = method(**request)
            if chance > 1 - self._rate / 5:
                self.trouble += 1
                raise ReadTimeoutError(endpoint_url="http://flaky")
            return answer

        return call

    def _half(self, items: Any) -> Any:
        ((table, requests),) = items.items()
        self.trouble += 1
        self._throttles -= 1
        cut = self._rng.randint(0, len(requests))
        if cut:
            self._client.batch_write_item(RequestItems={table: requests[:cut]})
        return {"UnprocessedItems": {table: requests[cut:]} if requests[cut:] else {}}
