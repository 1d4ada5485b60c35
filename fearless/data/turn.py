"""Fix the place in the target's streams from which its changes are carried back: P0 prime.

Both sides stand still when this is done, so the place is exact: after all that the copy and the
replay wrote, which must never be carried back, and before the first write of the new applications.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import code, explain
from fearless.data.context import Table
from fearless.data.position import Listing, describe_stream
from fearless.data.sentinels import delete_sentinels, write_sentinels
from fearless.data.state import Row
from fearless.data.tables import SENTINEL_MARK
from fearless.errors import FearlessError, Refused

MARKS = 400
"""Marks of one token that a table's target may hold, at most."""


def turn(table: Table, seconds: float, token: str) -> Row:
    """The position of the way back of one table, as a row of its META.

    Marks with the `token` are written into the target, and taken out again.
    """
    target = table.target
    if target.stream is None or target.view != "NEW_AND_OLD_IMAGES":
        raise Refused(
            f"table {table.name}: {target.table} has no stream of NEW_AND_OLD_IMAGES, so nothing "
            "could be carried back from it: set it in the template of that stack"
        )
    deadline, streams = table.machinery.clock() + seconds, _streams(table)
    marks = 0
    while True:
        listing = describe_stream(table.reader, streams, target.stream)
        found = _Marks(table, listing, token, marks)
        after = found.find(deadline)
        marks = found.written
        again = describe_stream(table.reader, streams, target.stream)
        if not after:
            table.machinery.sleep(table.settings.poll)
        elif again.ended == listing.ended and len(again.shards) == len(listing.shards):
            return {
                "source": target.table,
                "source_id": target.id,
                "source_arn": target.arn,
                "target": table.source.table,
                "target_id": table.source.id,
                "target_arn": table.source.arn,
                "stream": target.stream,
                "t0": again.now,
                "shards": dict(again.shards),
                "last": again.last,
                "after": after,
                "ended": sorted(again.ended),
            }


class _Marks:
    """Writes marks into the target until each of its open shards has delivered one."""

    def __init__(self, table: Table, listing: Listing, token: str, first: int) -> None:
        self._table = table
        self._token = token
        self._open = [shard for shard, _ in listing.shards if shard not in listing.ended]
        self._iterators = {shard: self._latest(shard) for shard in self._open}
        self._first = first
        self.written = first

    def find(self, deadline: float) -> dict[str, str]:
        """The sequence number of the last mark of each shard."""
        table, found = self._table, dict[str, str]()
        try:
            while len(found) < len(self._open) or not self._open:
                late = table.machinery.clock() > deadline or self.written >= MARKS
                if late:
                    raise FearlessError(
                        f"table {table.name}: not every shard of {table.target.table} delivered a "
                        "mark in time; nothing was switched: try again"
                    )
                if not self._open:
                    return {}
                more = min(max(2, 2 * len(self._open)), MARKS - self.written)
                write_sentinels(table, self._token, self.written, more, table.target)
                self.written += more
                for _ in range(table.settings.tip_polls):
                    self._read(found)
                    if len(found) == len(self._open):
                        break
                    table.machinery.sleep(table.settings.poll)
        finally:
            delete_sentinels(table, self._token, self.written, table.target)
        return found

    def _read(self, found: dict[str, str]) -> None:
        for shard in self._open:
            iterator = self._iterators[shard]
            if iterator is None:
                continue
            try:
                answer = self._table.reader.read(
                    _streams(self._table).get_records, ShardIterator=iterator, Limit=1000
                )
            except ClientError as error:
                if code(error) != "ExpiredIteratorException":
                    raise explain(error, f"reading {self._table.target.table}") from error
                self._iterators[shard] = self._latest(shard)
                continue
            self._iterators[shard] = answer.get("NextShardIterator")
            for record in answer["Records"]:
                new = record["dynamodb"].get("NewImage") or {}
                if new.get(SENTINEL_MARK) == {"S": self._token}:
                    found[shard] = record["dynamodb"]["SequenceNumber"]

    def _latest(self, shard: str) -> str | None:
        answer = self._table.reader.read(
            _streams(self._table).get_shard_iterator,
            StreamArn=self._table.target.stream,
            ShardId=shard,
            ShardIteratorType="LATEST",
        )
        return str(answer["ShardIterator"])


def _streams(table: Table) -> Any:
    return table.clients.target_streams or table.clients.streams
