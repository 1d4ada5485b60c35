"""The pages of one segment of one side, by consistent reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from fearless.data.context import Table
from fearless.data.tables import Typed

Side = Literal["source", "target"]


def scan(table: Table, side: Side, segment: int, total: int) -> Iterator[list[Typed]]:
    """Page by page; nothing is kept."""
    client = table.clients.source if side == "source" else table.clients.target
    info = table.source if side == "source" else table.target
    request: dict[str, Any] = {
        "TableName": info.table,
        "ConsistentRead": True,
        "Segment": segment,
        "TotalSegments": total,
    }
    if table.settings.page:
        request["Limit"] = table.settings.page
    while True:
        page = table.reader.read(client.scan, **request)
        yield page["Items"]
        if not page.get("LastEvaluatedKey"):
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
