"""Watch the old tables after a cutover: nobody should write them any more, and somebody may.

Their streams are read on from where the drain had come to. Sentinels and expiries by TTL are no
stragglers. What is found is never lost silently: where the new side still is as the old item was,
the change is made there, on condition that it still is; anything else is a conflict row for people,
which goes when both sides agree again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.apply import Lane, by_ttl, window
from fearless.data.calls import code, explain
from fearless.data.canonical import item_bytes
from fearless.data.context import Table
from fearless.data.fetch import fetch
from fearless.data.patch import Conflict, patch
from fearless.data.position import describe_stream
from fearless.data.state import Row
from fearless.data.tables import Typed, show
from fearless.data.touched import Touched
from fearless.data.verify import differing
from fearless.errors import FearlessError
from fearless.interfaces import Report

AT_ONCE = 100
"""Items compared at once."""

TOLD = ("keep-key", "owned")
"""The kinds of transforms that tell which new items an old one becomes."""

ROUNDS = 5
"""How often a change that fits neither way is looked at again before it is a conflict."""


@dataclass(frozen=True)
class Seen:
    """What was found: `settled` is on the new side already, `applied` was brought there."""

    settled: int = 0
    applied: int = 0
    conflicts: int = 0

    @property
    def found(self) -> int:
        """Writes to the old side after the fence, or echoes of the way back."""
        return self.settled + self.applied + self.conflicts

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            self.settled + other.settled,
            self.applied + other.applied,
            self.conflicts + other.conflicts,
        )


class Stragglers:
    """Reads the old tables' streams of a run after its cutover.

    `write`: whether changes may be made on the new side; never while anything is carried back.
    `back` are the tables of the way back, by name: what it writes to the old side is no straggler.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        report: Report,
        write: bool = False,
        back: Mapping[str, Table] | None = None,
    ) -> None:
        ways = back or {}
        self._watches = [
            _Watch(table, report, write and not ways, ways.get(table.name)) for table in tables
        ]
        self._report = report
        self._kit = tables[0].machinery if tables else None

    def look(self) -> Seen:
        """Read everything there is now."""
        return sum((watch.look() for watch in self._watches), Seen())

    def conflicts(self) -> int:
        """How many conflicts there are, of all looks; those that both sides agree on again go."""
        return sum(watch.recheck() for watch in self._watches)

    def watch(self, seconds: float, pause: float = 5.0) -> Seen:
        """Look again and again for so long; says so whenever there is a conflict."""
        seen = Seen()
        if self._kit is None:
            return seen
        deadline = self._kit.clock() + seconds
        while True:
            now = self.look()
            seen += now
            if now.conflicts:
                self._report.line(
                    f"{now.conflicts} writes to the old tables after the fence could not be "
                    "brought over: see the conflicts"
                )
            left = deadline - self._kit.clock()
            if left <= 0:
                return seen
            self._report.progress("watching the old tables", seen.found, None)
            self._kit.sleep(min(pause, left))


def conflicts(table: Table) -> list[Row]:
    """The conflict rows of a table: `key`, `seq`, `why`; never values of the item."""
    return table.rows("CONFLICT#")


class _Watch:
    """One table's stream, read on from the checkpoints of the run."""

    def __init__(self, table: Table, report: Report, write: bool, back: Table | None) -> None:
        self._table = table
        self._back = back
        self._report = report
        self._write = write
        self._stream = str(table.position["stream"])
        self._rows: dict[str, Row] = {}
        self._iterators: dict[str, str | None] = {}

    def look(self) -> Seen:
        self._load()
        seen = Seen()
        for shard in self._in_order():
            row = self._rows[shard]
            parent = self._rows.get(row["parent"] or "")
            if not row["done"] and (parent is None or parent["done"]):
                seen += self._read(row)
        return seen

    def recheck(self) -> int:
        """Drop the conflicts that both sides agree on by now; how many are left."""
        table, left = self._table, 0
        for row in conflicts(table):
            if self._agree(row["key"], row["made"]):
                table.state.delete(table.reader, table.generation, row["sk"])
            else:
                left += 1
        return left

    def _agree(self, key: Typed, made: Sequence[Typed]) -> bool:
        """Whether both sides are now what the one makes of the other, in either direction.

        `made` are keys on the new side that an output of the item may have been at.
        """
        table = self._table
        if table.migrate.kind not in TOLD:
            return False
        if self._back is not None and not self._amiss([key]):
            return True
        old = fetch(table.reader, table.clients.source, table.source, [key])
        wanted = table.migrate(old.get(table.source.key_id(key)))
        keys = [table.target.key(output) for output in wanted.outputs.values()]
        have = fetch(table.reader, table.clients.target, table.target, [*keys, *made])
        return wanted.failure is None and _same(have, wanted.outputs)

    def _amiss(self, keys: Sequence[Typed]) -> set[bytes]:
        """Which old items are not what the way back makes of the new side."""
        back, found = self._back, set()
        if back is None:
            return {self._table.source.key_id(key) for key in keys}
        for start in range(0, len(keys), AT_ONCE):
            part = [Touched(key, [key]) for key in keys[start : start + AT_ONCE]]
            found |= {key_id for key_id, (_, wrong) in differing(back, part).items() if wrong}
        return found

    def _load(self) -> None:
        """The shards, each from where the drain (or a watch before this one) had come to."""
        table = self._table
        if not self._rows:
            self._rows = {row["shard"]: row for row in table.rows("LATE#")}
        drained = {row["shard"]: row for row in table.rows("SHARD#")}
        listing = describe_stream(table.reader, table.clients.streams, self._stream)
        for shard, parent in listing.shards:
            if shard not in self._rows:
                before = drained.get(shard, {"checkpoint": "", "done": False})
                new = {
                    "shard": shard,
                    "parent": parent,
                    "checkpoint": before["checkpoint"],
                    "done": before["done"],
                }
                self._rows[shard] = self._put(f"LATE#{shard}", new, None) or new

    def _in_order(self) -> list[str]:
        """Parents before their children."""
        order: list[str] = []

        def add(shard: str) -> None:
            parent = self._rows[shard]["parent"]
            if parent in self._rows and parent not in order:
                add(parent)
            if shard not in order:
                order.append(shard)

        for shard in self._rows:
            add(shard)
        return order

    def _read(self, row: Row) -> Seen:
        """Read a shard to its end for now."""
        table, shard, seen, empty = self._table, str(row["shard"]), Seen(), 0
        while empty < table.settings.tip_polls:
            iterator = self._iterators.get(shard) or self._open(row)
            try:
                answer = table.reader.read(
                    table.clients.streams.get_records, ShardIterator=iterator, Limit=1000
                )
            except ClientError as error:
                if code(error) != "ExpiredIteratorException":
                    raise explain(error, f"watching {table.source.table}") from error
                self._iterators[shard] = None
                continue
            following = answer.get("NextShardIterator")
            records = answer["Records"]
            seen += self._judge(records)
            changes: Row = {"done": True} if following is None else {}
            if records:
                changes["checkpoint"] = records[-1]["dynamodb"]["SequenceNumber"]
            if changes:
                kept = self._put(f"LATE#{shard}", {**self._rows[shard], **changes}, row.get("v"))
                if kept is None:
                    raise FearlessError(f"another process is watching {table.source.table}")
                row = self._rows[shard] = kept
            if following is None:
                break
            self._iterators[shard] = following
            empty = 0 if records else empty + 1
            if not records and empty < table.settings.tip_polls:
                table.machinery.sleep(table.settings.poll)
        return seen

    def _open(self, row: Row) -> str:
        request: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if row["checkpoint"]:
            request = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": row["checkpoint"],
            }
        try:
            answer = self._table.reader.read(
                self._table.clients.streams.get_shard_iterator,
                StreamArn=self._stream,
                ShardId=row["shard"],
                **request,
            )
        except ClientError as error:
            raise explain(error, f"watching {self._table.source.table}") from error
        return str(answer["ShardIterator"])

    def _judge(self, records: Sequence[Mapping[str, Any]]) -> Seen:
        """Most of what comes while there is a way back was written by it: that is told at once."""
        late = [record for record in records if not by_ttl(record)]
        lanes = window(self._table, late).lanes
        if self._back is None or self._table.migrate.kind not in TOLD:
            return sum((self._settle(lane) for lane in lanes), Seen())
        amiss = self._amiss([lane.key for lane in lanes])
        suspicious = [lane for lane in lanes if lane.key_id in amiss]
        settled = Seen(settled=len(lanes) - len(suspicious))
        return sum((self._settle(lane) for lane in suspicious), settled)

    def _settle(self, lane: Lane) -> Seen:
        """Compare the new side with the item before and after; look again before giving up."""
        table = self._table
        if table.migrate.kind not in TOLD:
            why = f"items of a {table.migrate.kind} transform are not told"
            return self._conflict(lane, why, [])
        new: Typed | None = lane.states[-1]
        before, after = table.migrate(lane.states[0]), table.migrate(new)
        failure = after.failure or before.failure
        outputs = {**before.outputs, **after.outputs}
        keys = {key_id: table.target.key(output) for key_id, output in outputs.items()}
        made = list(keys.values())
        if failure:
            return self._conflict(lane, str(failure), made)
        for number in range(ROUNDS):
            have = fetch(table.reader, table.clients.target, table.target, made)
            if _same(have, after.outputs) or self._agree(lane.key, made):
                return Seen(settled=1)
            if self._write and _same(have, before.outputs):
                try:
                    for key_id, key in keys.items():
                        patch(table, key, have.get(key_id), after.outputs.get(key_id))
                except Conflict as conflict:
                    return self._conflict(lane, str(conflict.args[0]), made)
                self._report.line(f"table {table.name}: a late write to {show(lane.key)} applied")
                return Seen(applied=1)
            if number + 1 < ROUNDS:
                table.machinery.sleep(table.settings.poll)
        return self._conflict(lane, self._why(_same(have, before.outputs)), made)

    def _why(self, unchanged: bool) -> str:
        if unchanged:
            return "it was not brought over, for what is carried back must stay told apart"
        return "the new item was changed as well"

    def _conflict(self, lane: Lane, why: str, made: Sequence[Typed]) -> Seen:
        digest = blake2b(self._table.source.key_id(lane.key), digest_size=16).hexdigest()
        sk = f"CONFLICT#{digest}"
        seen = int(self._table.wall())
        row = {"key": lane.key, "seq": lane.seq, "why": why, "made": list(made), "seen": seen}
        before = self._row(sk)
        self._put(sk, row, None if before is None else int(before["v"]))
        self._report.line(
            f"table {self._table.name}: {show(lane.key)} was written on the old side after the "
            f"fence: {why}"
        )
        return Seen(conflicts=1)

    def _row(self, sk: str) -> Row | None:
        table = self._table
        return table.state.row(table.reader, table.generation, f"T#{table.name}#{sk}")

    def _put(self, sk: str, row: Row, seen: int | None) -> Row | None:
        table = self._table
        return table.state.replace(
            table.reader, table.generation, f"T#{table.name}#{sk}", row, seen
        )


def _same(one: Mapping[bytes, Typed], other: Mapping[bytes, Typed]) -> bool:
    return one.keys() == other.keys() and all(
        item_bytes(item) == item_bytes(other[key_id]) for key_id, item in one.items()
    )
