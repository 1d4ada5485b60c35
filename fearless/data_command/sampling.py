"""Some items of a table, from all over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fearless.data.tables import TableInfo, Typed

SEGMENTS = 16


def some(client: Any, table: TableInfo, count: int) -> Iterator[Typed]:
    """Up to `count` items: a part of each sixteenth of the table, as long as they last."""
    limit = -(-count // SEGMENTS)
    after: dict[int, Any] = dict.fromkeys(range(SEGMENTS))
    while count > 0 and after:
        for segment in list(after):
            page = _page(client, table, segment, min(limit, count), after[segment])
            items = [item for item in page["Items"] if not table.sentinel(item)]
            yield from items
            count -= len(items)
            after[segment] = page.get("LastEvaluatedKey")
            if after[segment] is None:
                del after[segment]
            if count <= 0:
                return


def partition(client: Any, table: TableInfo, item: Typed) -> Iterator[Typed]:
    """Every item that has the item's hash key."""
    name = table.keys[0]
    request: dict[str, Any] = {
        "TableName": table.table,
        "ConsistentRead": True,
        "KeyConditionExpression": "#h = :h",
        "ExpressionAttributeNames": {"#h": name},
        "ExpressionAttributeValues": {":h": item[name]},
    }
    while True:
        page = client.query(**request)
        yield from page["Items"]
        if not page.get("LastEvaluatedKey"):
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _page(client: Any, table: TableInfo, segment: int, limit: int, after: Any) -> Any:
    request: dict[str, Any] = {
        "TableName": table.table,
        "ConsistentRead": True,
        "Segment": segment,
        "TotalSegments": SEGMENTS,
        "Limit": limit,
    }
    if after is not None:
        request["ExclusiveStartKey"] = after
    return client.scan(**request)
