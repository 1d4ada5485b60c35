"""What the data plane must know of a table: its keys, its identity, and how to show a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from fearless.data.canonical import binary, item_bytes

SENTINEL = "~mig#hb#"
SENTINEL_MARK = "~mig#hb"
TEST_PREFIX = "test-"

Typed = dict[str, Any]


@dataclass(frozen=True)
class TableInfo:
    """A table as DescribeTable reports it. `types` covers every key attribute, indexes included.

    `limits` are the most bytes that a key attribute of an index may have.
    """

    table: str
    id: str
    arn: str
    stream: str | None
    view: str | None
    keys: tuple[str, ...]
    types: Mapping[str, str]
    count: int
    size: int
    limits: Mapping[str, int] = field(default_factory=dict)

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
            limits=_limits(description),
        )

    def key(self, item: Mapping[str, Any]) -> Typed:
        """The key attributes of a typed item. Raises KeyError when one is missing."""
        return {name: item[name] for name in self.keys}

    def key_id(self, item: Mapping[str, Any]) -> bytes:
        """The identity of an item's key: equal for `1` and `1.0`, as in the table."""
        names, template, quotes = self._spelling
        try:
            text = template % tuple([item[name]["S"] for name in names])
        except KeyError:
            return item_bytes({name: item[name] for name in names})
        if text.isprintable() and text.count('"') == quotes and "\\" not in text:
            return text.encode()
        return item_bytes({name: item[name] for name in names})

    @cached_property
    def _spelling(self) -> tuple[list[str], str, int]:
        """Names in order, the JSON of a key of text for `%`, and the quotes in it.

        Text in which nothing is to be escaped is put in as it is: identities are made by the
        million, and kept.
        """
        names = sorted(self.keys)
        heads = [orjson.dumps(name).decode().replace("%", "%%") for name in names]
        template = "{" + ",".join(head + ':{"S":"%s"}' for head in heads) + "}"
        return names, template, template.count('"')

    def sentinel(self, item: Mapping[str, Any]) -> bool:
        """True for what drain writes to see how far a stream has come; never copied."""
        if SENTINEL_MARK in item:
            return True
        text = item.get(self.keys[0], {}).get("S")
        return text is not None and text.startswith(SENTINEL)

    def real(self, items: Sequence[Typed]) -> list[Typed]:
        """The items but for sentinels: asked for every page of a scan, so in one go."""
        first = self.keys[0]
        return [
            item
            for item in items
            if SENTINEL_MARK not in item and not item[first].get("S", "").startswith(SENTINEL)
        ]

    def test(self, key: Mapping[str, Any]) -> bool:
        """True for the key of a test item, which the candidate may write before it is live."""
        text = key.get(self.keys[0], {}).get("S")
        return text is not None and text.startswith(TEST_PREFIX)


def _limits(description: Mapping[str, Any]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for indexes in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        for index in description.get(indexes) or ():
            for key in index["KeySchema"]:
                limit = 2048 if key["KeyType"] == "HASH" else 1024
                limits[key["AttributeName"]] = min(limit, limits.get(key["AttributeName"], limit))
    return limits


def show(key: Mapping[str, Any]) -> str:
    """A key for people: `store_id='s1', object_id=7`."""
    return ", ".join(f"{name}={_plain(value)}" for name, value in key.items())


def _plain(value: Mapping[str, Any]) -> str:
    ((kind, raw),) = value.items()
    if kind == "B":
        return repr(binary(raw))
    return str(raw) if kind == "N" else repr(raw)
