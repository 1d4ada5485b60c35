"""What the data plane must know of a table: its keys, its identity, and how to show a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fearless.data.canonical import item_bytes

SENTINEL = "~mig#hb#"
SENTINEL_MARK = "~mig#hb"
TEST_PREFIX = "test-"

Typed = dict[str, Any]


@dataclass(frozen=True)
class TableInfo:
    """A table as DescribeTable reports it. `types` covers every key attribute, indexes included."""

    table: str
    id: str
    arn: str
    stream: str | None
    view: str | None
    keys: tuple[str, ...]
    types: Mapping[str, str]
    count: int
    size: int

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> TableInfo:
        """From the `Table` of a DescribeTable answer."""
        roles = {k["KeyType"]: k["AttributeName"] for k in description["KeySchema"]}
        stream = description.get("StreamSpecification") or {}
        return cls(
            table=description["TableName"],
            id=description.get("TableId") or description["TableArn"],
            arn=description["TableArn"],
            stream=description.get("LatestStreamArn") if stream.get("StreamEnabled") else None,
            view=stream.get("StreamViewType"),
            keys=tuple(roles[role] for role in ("HASH", "RANGE") if role in roles),
            types={
                a["AttributeName"]: a["AttributeType"] for a in description["AttributeDefinitions"]
            },
            count=int(description.get("ItemCount") or 0),
            size=int(description.get("TableSizeBytes") or 0),
        )

    def key(self, item: Mapping[str, Any]) -> Typed:
        """The key attributes of a typed item. Raises KeyError when one is missing."""
        return {name: item[name] for name in self.keys}

    def key_id(self, item: Mapping[str, Any]) -> bytes:
        """The identity of an item's key: equal for `1` and `1.0`, as in the table."""
        return item_bytes(self.key(item))

    def sentinel(self, item: Mapping[str, Any]) -> bool:
        """True for what drain writes to see how far a stream has come; never copied."""
        if SENTINEL_MARK in item:
            return True
        text = item.get(self.keys[0], {}).get("S")
        return text is not None and text.startswith(SENTINEL)

    def test(self, key: Mapping[str, Any]) -> bool:
        """True for the key of a test item, which the candidate may write before it is live."""
        text = key.get(self.keys[0], {}).get("S")
        return text is not None and text.startswith(TEST_PREFIX)


def show(key: Mapping[str, Any]) -> str:
    """A key for people: `store_id='s1', object_id=7`."""
    return ", ".join(f"{name}={_plain(value)}" for name, value in key.items())


def _plain(value: Mapping[str, Any]) -> str:
    ((kind, raw),) = value.items()
    return str(raw) if kind == "N" else repr(raw)
