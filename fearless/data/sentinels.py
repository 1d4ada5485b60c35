"""Marks written into a fenced source, to prove that everything before them was applied."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import code, explain
from fearless.data.context import Table
from fearless.data.state import CONDITION_FAILED
from fearless.data.tables import SENTINEL, SENTINEL_MARK, TableInfo, Typed


def sentinel_key(info: TableInfo, token: str, number: int) -> Typed:
    """The key of the `number`-th sentinel of a drain, of whatever types the table's keys are."""
    text = f"{SENTINEL}{token}#{number}"
    digest = int.from_bytes(blake2b(text.encode(), digest_size=14).digest(), "big")
    values = {"S": text, "N": str(-(10**37) - digest), "B": text.encode()}
    return {name: {info.types[name]: values[info.types[name]]} for name in info.keys}


def write_sentinels(
    table: Table, token: str, first: int, count: int, info: TableInfo | None = None
) -> None:
    """Put `count` of them into the source, never over an item that is there."""
    for number in range(first, first + count):
        _write(table, token, number, info or table.source)


def _write(table: Table, token: str, number: int, info: TableInfo) -> None:
    key = sentinel_key(info, token, number)
    try:
        table.reader.write(
            _client(table, info).put_item,
            TableName=info.table,
            Item={**key, SENTINEL_MARK: {"S": token}},
            ConditionExpression="attribute_not_exists(#key)",
            ExpressionAttributeNames={"#key": info.keys[0]},
        )
    except ClientError as error:
        if code(error) != CONDITION_FAILED:
            raise explain(error, f"writing a sentinel to {info.table}") from error


def delete_sentinels(table: Table, token: str, count: int, info: TableInfo | None = None) -> None:
    """Take those of a drain out of the source again, written or not."""
    info = info or table.source
    for number in range(count):
        request: dict[str, Any] = {
            "TableName": info.table,
            "Key": sentinel_key(info, token, number),
            "ConditionExpression": "#mark = :token",
            "ExpressionAttributeNames": {"#mark": SENTINEL_MARK},
            "ExpressionAttributeValues": {":token": {"S": token}},
        }
        try:
            table.reader.write(_client(table, info).delete_item, **request)
        except ClientError as error:
            if code(error) != CONDITION_FAILED:
                raise explain(error, f"deleting a sentinel of {info.table}") from error


def _client(table: Table, info: TableInfo) -> Any:
    return table.clients.target if info is table.target else table.clients.source
