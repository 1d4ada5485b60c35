"""One segment of one side, by consistent reads: a page is asked for, and comes in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from fearless.data.context import Table
from fearless.data.pieces import Page, Whole
from fearless.data.tables import Typed

Side = Literal["source", "target"]


def scan(table: Table, side: Side, segment: int, total: int) -> Iterator[list[Typed]]:
    """Piece by piece; nothing is kept."""
    client = table.clients.source if side == "source" else table.clients.target
    info = table.source if side == "source" else table.target
    request = request_of(table, info.table, segment, total)
    while True:
        page = page_of(table, client, request)
        yield from page
        if not page.rest.get("LastEvaluatedKey"):
            return
        request["ExclusiveStartKey"] = page.rest["LastEvaluatedKey"]


def request_of(table: Table, name: str, segment: int, total: int) -> dict[str, Any]:
    """What asks for the first page of a segment of the table of that name."""
    request: dict[str, Any] = {
        "TableName": name,
        "ConsistentRead": True,
        "Segment": segment,
        "TotalSegments": total,
    }
    if table.settings.page:
        request["Limit"] = table.settings.page
    return request


def page_of(table: Table, client: Any, request: dict[str, Any]) -> Page:
    """One page; a client that has no pieces gives it as one."""
    in_pieces = getattr(client, "scan_in_pieces", None)
    if in_pieces is None:
        return Whole(table.reader.read(client.scan, **request))
    page: Page = table.reader.read(in_pieces, **request)
    return page
