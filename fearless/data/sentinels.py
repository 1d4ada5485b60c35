"""Marks written into a fenced source, to prove that everything before them was applied."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import code, explain
from fearless.data.context import Table
from fearless.data.replay import Follower
from fearless.data.state import CONDITION_FAILED
from fearless.data.tables import SENTINEL, SENTINEL_MARK, TableInfo, Typed
from fearless.errors import FearlessError


def sentinel_key(info: TableInfo, token: str, number: int) -> Typed:
    """The key of the `number`-th sentinel of a drain, of whatever types the table's keys are."""
    text = f"{SENTINEL}{token}#{number}"
    digest = int.from_bytes(blake2b(text.encode(), digest_size=14).digest(), "big")
    values = {"S": text, "N": str(-(10**37) - digest), "B": text.encode()}
    return {name: {info.types[name]: values[info.types[name]]} for name in info.keys}


def write_sentinel(table: Table, token: str, number: int) -> None:
    """Put one into the source, never over an item that is there."""
    key = sentinel_key(table.source, token, number)
    try:
        table.keeper.write(
            table.source_client.put_item,
            TableName=table.source.table,
            Item={**key, SENTINEL_MARK: {"S": token}},
            ConditionExpression="attribute_not_exists(#key)",
            ExpressionAttributeNames={"#key": table.source.keys[0]},
        )
    except ClientError as error:
        if code(error) != CONDITION_FAILED:
            raise explain(error, f"writing a sentinel to {table.source.table}") from error


def delete_sentinels(table: Table, token: str, count: int) -> None:
    """Take those of a drain out of the source again, written or not."""
    for number in range(count):
        request: dict[str, Any] = {
            "TableName": table.source.table,
            "Key": sentinel_key(table.source, token, number),
            "ConditionExpression": "#mark = :token",
            "ExpressionAttributeNames": {"#mark": SENTINEL_MARK},
            "ExpressionAttributeValues": {":token": {"S": token}},
        }
        try:
            table.keeper.write(table.source_client.delete_item, **request)
        except ClientError as error:
            if code(error) != CONDITION_FAILED:
                raise explain(error, f"deleting a sentinel of {table.source.table}") from error


def drain(table: Table, follower: Follower, token: str, limit: int) -> None:
    """Write sentinels until every open shard has delivered one, everything before it applied."""
    deadline = table.reader.clock() + table.settings.drain
    follower.refresh()
    number, quiet = 0, 0
    while not follower.delivered(token):
        if table.reader.clock() > deadline:
            raise FearlessError(
                f"table {table.name}: not every shard of {table.source.table} delivered a mark "
                f"within {table.settings.drain:.0f} s; nothing was switched: try again"
            )
        if number < limit and quiet % table.settings.tip_polls == 0:
            for _ in range(max(2, 2 * len(follower.shards))):
                if number < limit:
                    follower.sentinels = number + 1
                    write_sentinel(table, token, number)
                    number += 1
        if follower.step():
            quiet = 0
        else:
            quiet += 1
            table.reader.sleep(table.settings.poll)
        if follower.delivered(token):
            follower.refresh()
