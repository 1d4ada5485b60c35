"""Read one shard of a table's stream and apply it window by window, from its checkpoint on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.apply import Window, timestamp, window
from fearless.data.calls import Caller, code
from fearless.data.claim import Claim, Stopping
from fearless.data.context import Table
from fearless.data.position import RETENTION, Gap
from fearless.data.state import Row
from fearless.data.touched import DIRTY, SUSPECTS, Touched, keep
from fearless.errors import FearlessError

Apply = Callable[[Table, Caller, Window], Sequence[Touched]]
"""Makes the target right for a window of changes; returns the keys it touched."""

TOKENS = 20
"""Sentinels' tokens that a shard's row remembers, the newest ones."""

SUSPECT_RECORDS = 5000
"""Records after a checkpoint that an owner who fell silent may have been applying, at most."""


def new_shard(shard: str, parent: str | None, checkpoint: str = "", read_to: int = 0) -> Row:
    """The row of a shard that nobody has begun."""
    return {
        "shard": shard,
        "parent": parent,
        "done": False,
        "owner": "",
        "checkpoint": checkpoint,
        "applied": 0,
        "expired": 0,
        "read_to": read_to,
        "last": 0,
        "tip": 0,
        "tokens": [],
        "suspect": 0,
        "watch": 0,
    }


def shard_sk(shard: str) -> str:
    """Where the row of a shard lies."""
    return f"SHARD#{shard}"


class Replay:
    """Follows one claimed shard. `watch` numbers the list of touched keys to keep, 0 for none."""

    def __init__(self, table: Table, claim: Claim, apply: Apply, watch: int) -> None:
        self._table = table
        self._claim = claim
        self._apply = apply
        self._watch = watch
        self._iterator: str | None = None
        self._empty = 0
        self._near = False
        self._unknown = False

    def run(self, seconds: float, live: bool, stopping: Stopping) -> bool:
        """Apply until the end of the shard, for so long at most; True when the end was reached.

        With `live` it goes on at the end, for the whole time.
        """
        clock, settings = self._table.machinery.clock, self._table.settings
        deadline, reached = clock() + seconds, False
        try:
            while not stopping():
                self._table.guard()
                reached = self._read()
                over = self._claim.row["done"] or clock() >= deadline
                if over or (reached and not live):
                    break
                if self._empty:
                    self._table.machinery.sleep(settings.poll)
        except Exception:
            with contextlib.suppress(FearlessError, ClientError, BotoCoreError):
                self._let_go()
            raise
        self._let_go()
        return reached

    def _let_go(self) -> None:
        """Release the shard; what may still land of an unfinished window becomes suspect."""
        suspect = SUSPECT_RECORDS if self._unknown else self._claim.row["suspect"]
        if self._unknown:
            self._claim.unknown()
        if self._claim.row["owner"]:
            self._claim.put(owner="", suspect=suspect)

    def _read(self) -> bool:
        """Read and apply one window; True at the end of what there is."""
        table, row, limit = self._table, self._claim.row, self._table.settings.window
        if self._iterator is None:
            self._iterator = self._open()
        asked = table.wall()
        try:
            answer = table.reader.read(
                table.clients.streams.get_records, ShardIterator=self._iterator, Limit=limit
            )
        except ClientError as error:
            if code(error) == "ExpiredIteratorException":
                self._iterator = None
                return False
            raise self._lost(error) from error
        records = answer["Records"]
        self._iterator = answer.get("NextShardIterator")
        self._empty = 0 if records else self._empty + 1
        changes: Row = {}
        if records:
            changes = self._window(records)
            age = asked - timestamp(records[-1])
            self._near = len(records) < limit and age <= table.settings.near
        reached = self._near or self._empty >= table.settings.tip_polls
        if reached or self._iterator is None:
            changes |= {"tip": int(asked * 1000)}
            if not records:
                changes |= {"read_to": int(asked)}
        if self._iterator is None:
            changes |= {"done": True, "owner": ""}
        if records or self._iterator is None or (reached and self._empty % 20 == 0):
            self._claim.put(**changes)
        else:
            self._claim.row = {**row, **changes}
        return reached

    def _window(self, records: Sequence[Mapping[str, Any]]) -> Row:
        """Apply the records; the changes of the row that say so."""
        table, row = self._table, self._claim.row
        self._unknown = False
        caller = table.caller(self._missed)
        found = window(table, records)
        touched = self._apply(table, caller, found)
        number = int(row["v"]) >> 40
        if self._watch:
            keep(table, table.reader, f"{DIRTY}{self._watch:06d}#", touched, claim=number)
        left = self._suspect(records)
        if left or self._unknown:
            due = table.wall() + table.settings.zombie + 2
            keep(table, table.reader, SUSPECTS, touched, due, number)
        self._unknown = False
        last = timestamp(records[-1])
        return {
            "checkpoint": records[-1]["dynamodb"]["SequenceNumber"],
            "applied": int(row["applied"]) + found.records,
            "expired": int(row["expired"]) + found.expired,
            "read_to": int(last),
            "last": int(last * 1000),
            "tokens": [t for t in row["tokens"] if t not in found.tokens][-TOKENS:]
            + list(found.tokens)[-TOKENS:],
            "suspect": max(0, left - len(records)),
        }

    def _suspect(self, records: Sequence[Mapping[str, Any]]) -> int:
        """How many of the next records an owner who fell silent may have been applying.

        None that was made after that: it cannot have read them. Without this, every record of a
        table that is written all the time would be suspect for long, and nothing could go over.
        """
        row, skew = self._claim.row, self._table.settings.skew
        silent = int(row.get("unknown_at") or 0)
        if silent and timestamp(records[0]) > silent + skew:
            return 0
        return int(row["suspect"])

    def _missed(self) -> None:
        self._unknown = True

    def _open(self) -> str:
        table, row = self._table, self._claim.row
        request: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if row["checkpoint"]:
            request = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": row["checkpoint"],
            }
        try:
            answer = table.reader.read(
                table.clients.streams.get_shard_iterator,
                StreamArn=table.position["stream"],
                ShardId=row["shard"],
                **request,
            )
        except ClientError as error:
            raise self._lost(error) from error
        check_age(table, f"shard {row['shard']}", int(row["read_to"]))
        return str(answer["ShardIterator"])

    def _lost(self, error: ClientError) -> Exception:
        shard = self._claim.row["shard"]
        if code(error) == "TrimmedDataAccessException":
            return gap(self._table, f"shard {shard} was trimmed past what had been applied")
        if code(error) == "ResourceNotFoundException":
            return gap(self._table, f"shard {shard} or its stream does not exist any more")
        return error


def check_age(table: Table, what: str, read_to: float) -> None:
    """Raise Gap when what was last read so long ago may have been trimmed since."""
    age = table.wall() - max(read_to, float(table.position["t0"]))
    if age > RETENTION:
        raise gap(
            table,
            f"{what} was last read {age / 3600:.0f} hours ago, and streams keep 24 hours only",
        )


def gap(table: Table, what: str) -> Gap:
    """The error for changes that are lost."""
    return Gap(f"table {table.name} ({table.source.table}): {what}")
