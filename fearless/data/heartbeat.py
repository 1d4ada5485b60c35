"""A mark written into the source every few seconds, to see how long changes take when few come."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping

from botocore.exceptions import ClientError

from fearless.data.calls import explain
from fearless.data.context import Table
from fearless.data.sentinels import sentinel_key
from fearless.data.state import CONDITION_FAILED, Row
from fearless.data.tables import SENTINEL_MARK
from fearless.errors import FearlessError
from fearless.interfaces import Report

KEPT = 20


class Heartbeat:
    """The marks of one table. Times in seconds.

    One item is written again and again, never over another one; it is never copied. Where writing
    the source is denied, that is said once and there are no more marks.
    """

    def __init__(self, table: Table, seconds: float, report: Report) -> None:
        self._table = table
        self._seconds = seconds
        self._report = report
        self._token = uuid.UUID(int=table.machinery.random().getrandbits(128)).hex
        self._next = table.machinery.clock()
        self._sent: dict[str, float] = {}
        self.round_trip: float | None = None

    def beat(self) -> None:
        """Write the next mark when it is due."""
        now = self._table.machinery.clock()
        if not self._seconds or now < self._next:
            return
        self._next = now + self._seconds
        mark = f"{self._token}#{len(self._sent)}#{now:.3f}"
        try:
            self._write(mark)
        except FearlessError as error:
            self._seconds = 0.0
            self._report.line(f"no heartbeat: {error.args[0]}")
            return
        self._sent[mark] = now
        while len(self._sent) > KEPT:
            del self._sent[next(iter(self._sent))]

    def hear(self, shards: Mapping[str, Row]) -> None:
        """See which mark has come through every shard's window."""
        heard = {token for row in shards.values() for token in row["tokens"]} & self._sent.keys()
        for mark in heard:
            self.round_trip = self._table.machinery.clock() - self._sent.pop(mark)

    def end(self) -> None:
        """Take the mark out of the source again."""
        if self._sent or self.round_trip is not None:
            with contextlib.suppress(FearlessError, ClientError):
                self._delete()

    def _write(self, mark: str) -> None:
        info = self._table.source
        names = {"#key": info.keys[0], "#mark": SENTINEL_MARK}
        try:
            self._table.reader.write(
                self._table.clients.source.put_item,
                TableName=info.table,
                Item={**sentinel_key(info, self._token, 0), SENTINEL_MARK: {"S": mark}},
                ConditionExpression="attribute_not_exists(#key) OR attribute_exists(#mark)",
                ExpressionAttributeNames=names,
            )
        except ClientError as error:
            raise explain(error, f"writing a mark to {info.table}") from error

    def _delete(self) -> None:
        info = self._table.source
        try:
            self._table.reader.write(
                self._table.clients.source.delete_item,
                TableName=info.table,
                Key=sentinel_key(info, self._token, 0),
                ConditionExpression="attribute_exists(#mark)",
                ExpressionAttributeNames={"#mark": SENTINEL_MARK},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != CONDITION_FAILED:
                raise
