"""Change one item of a table in use, on condition that it is what it was when it was read."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import code, explain
from fearless.data.canonical import value_bytes
from fearless.data.context import Table
from fearless.data.state import CONDITION_FAILED
from fearless.data.tables import Typed
from fearless.errors import FearlessError

MOST = 100
"""Attributes that a condition can name within DynamoDB's limits of an expression."""


class Conflict(FearlessError):
    """The item is not what it was, or cannot be compared as a whole."""


def patch(table: Table, key: Typed, old: Typed | None, new: Typed | None) -> None:
    """Make the target's item at `key` go from `old` to `new` (None: absent). Raises Conflict.

    Only the attributes that differ are written: what somebody adds meanwhile stays.
    """
    request = update(key, old, new)
    if request is None:
        return
    client = table.clients.target
    method = {"put": client.put_item, "delete": client.delete_item, "update": client.update_item}
    kind, parameters = request
    try:
        table.reader.write(method[kind], TableName=table.target.table, **parameters)
    except ClientError as error:
        if code(error) == CONDITION_FAILED:
            raise Conflict("the new item was changed at that moment") from error
        raise explain(error, f"writing to {table.target.table}") from error


def update(key: Typed, old: Typed | None, new: Typed | None) -> tuple[str, dict[str, Any]] | None:
    """The request that does it: `put`, `delete` or `update`, and its parameters. None: nothing."""
    if old is None and new is None:
        return None
    if old is None:
        return "put", {
            "Item": new,
            "ConditionExpression": "attribute_not_exists(#k)",
            "ExpressionAttributeNames": {"#k": next(iter(key))},
        }
    if len({*old, *(new or {})}) > MOST:
        raise Conflict(f"an item of more than {MOST} attributes cannot be compared")
    names = {f"#{n}": name for n, name in enumerate(sorted({*old, *(new or {})} - key.keys()))}
    names["#k"] = next(iter(key))
    values: dict[str, Any] = {}
    conditions, sets, removes = ["attribute_exists(#k)"], list[str](), list[str]()
    for mark, name in names.items():
        if name in key:
            continue
        if name in old:
            values[f":o{mark[1:]}"] = old[name]
            conditions.append(f"{mark} = :o{mark[1:]}")
        else:
            conditions.append(f"attribute_not_exists({mark})")
        if new is None:
            continue
        if name not in new:
            removes.append(mark)
        elif name not in old or value_bytes(old[name]) != value_bytes(new[name]):
            values[f":n{mark[1:]}"] = new[name]
            sets.append(f"{mark} = :n{mark[1:]}")
    request: dict[str, Any] = {
        "Key": key,
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": names,
    }
    if values:
        request["ExpressionAttributeValues"] = values
    if new is None:
        return "delete", request
    if not sets and not removes:
        return None
    parts = [f"SET {', '.join(sets)}"] if sets else []
    parts += [f"REMOVE {', '.join(removes)}"] if removes else []
    return "update", {**request, "UpdateExpression": " ".join(parts)}
