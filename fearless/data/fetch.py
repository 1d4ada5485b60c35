"""Read items by key, consistently, a hundred at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fearless.data.calls import Caller
from fearless.data.tables import TableInfo, Typed

BATCH = 100
"""Keys in one BatchGetItem: DynamoDB's limit."""


def fetch(
    reader: Caller, client: Any, info: TableInfo, keys: Iterable[Typed]
) -> dict[bytes, Typed]:
    """The items of those keys that are there, by the identity of the key."""
    found: dict[bytes, Typed] = {}
    wanted = list({info.key_id(key): key for key in keys}.values())
    for start in range(0, len(wanted), BATCH):
        left: Any = {info.table: {"Keys": wanted[start : start + BATCH], "ConsistentRead": True}}
        attempt = 0
        while left:
            answer = reader.read(client.batch_get_item, RequestItems=left)
            for item in answer["Responses"].get(info.table, ()):
                found[info.key_id(item)] = item
            left = answer.get("UnprocessedKeys")
            if left:
                reader.pause(attempt)
                attempt += 1
    return found


def family(
    reader: Caller, client: Any, info: TableInfo, key: Typed, prefix: str | None
) -> list[Typed]:
    """Every item with the hash key of `key` (and a range key that begins with `prefix`)."""
    values = {":hash": key[info.keys[0]]}
    request: dict[str, Any] = {
        "TableName": info.table,
        "ConsistentRead": True,
        "KeyConditionExpression": "#hash = :hash",
        "ExpressionAttributeNames": {"#hash": info.keys[0]},
        "ExpressionAttributeValues": values,
    }
    if prefix and len(info.keys) > 1 and info.types[info.keys[1]] == "S":
        request["KeyConditionExpression"] += " AND begins_with(#range, :prefix)"
        request["ExpressionAttributeNames"]["#range"] = info.keys[1]
        values[":prefix"] = {"S": prefix}
    items: list[Typed] = []
    while True:
        page = reader.read(client.query, **request)
        items += page["Items"]
        if not page.get("LastEvaluatedKey"):
            return items
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
