"""What the new tables were written since the cutover, when a rollback cannot carry it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.apply import timestamp
from fearless.data.calls import Caller, code
from fearless.data.job import Clients, Pair
from fearless.data.machinery import Machinery
from fearless.data.position import Gap, check_position, describe, describe_stream
from fearless.data.settings import Settings
from fearless.data.state import Row, StateTable
from fearless.data.tables import TableInfo
from fearless.errors import Refused

QUIET = 5
"""Empty answers in a row, at least, until a shard that is open counts as read to its end."""


def journal(
    clients: Clients,
    state: StateTable,
    pairs: Sequence[Pair],
    settings: Settings,
    machinery: Machinery,
) -> Iterator[Row]:
    """Every change of the tables since the turn: `table`, `at` (Unix time), `old` and `new`.

    `pairs` and `state` are those of the way back. Changes of one item are in order. With the
    applications fenced none is left out; of those that the stream has forgotten, there is one
    entry with `missing` for each table, saying so.
    """
    reader = Caller(
        lambda: None, lambda: None, machinery.clock, machinery.sleep, rng=machinery.random()
    )
    meta = state.meta(reader)
    if meta is None or meta["phase"] == "none":
        raise Refused("where the list of writes begins was not fixed at the cutover")
    for pair in pairs:
        source = describe(reader, clients.source, pair.source)
        target = describe(reader, clients.target, pair.target)
        table = _Stream(pair.name, source, meta["tables"][pair.name], reader, clients.streams)
        try:
            check_position(pair.name, table.position, source, target)
            yield from table.read(max(QUIET, settings.tip_polls), settings.poll, machinery)
        except Gap as gap:
            yield {"table": pair.name, "missing": str(gap.args[0])}


class _Stream:
    """One table's stream, from a position on."""

    def __init__(
        self, name: str, info: TableInfo, position: Row, reader: Caller, streams: Any
    ) -> None:
        self.position = position
        self._name = name
        self._info = info
        self._reader = reader
        self._streams = streams
        self._missing = False

    def read(self, quiet: int, poll: float, machinery: Machinery) -> Iterator[Row]:
        """All of it, parents before their children."""
        after: Mapping[str, str] = self.position.get("after") or {}
        done = set(self.position.get("ended") or ())
        stream = str(self.position["stream"])
        while True:
            shards = dict(describe_stream(self._reader, self._streams, stream).shards)
            ready = [
                shard
                for shard, parent in shards.items()
                if shard not in done and (parent not in shards or parent in done)
            ]
            if not ready:
                break
            for shard in ready:
                for answer in self._pages(shard, after.get(shard, ""), quiet):
                    yield from self._changes(answer["Records"])
                    if not answer["Records"]:
                        machinery.sleep(poll)
                done.add(shard)
        if self._missing or any(shard not in shards for shard in after):
            yield {
                "table": self._name,
                "missing": f"{self._info.table}: older changes, which its stream keeps no more",
            }

    def _pages(self, shard: str, after: str, quiet: int) -> Iterator[Row]:
        """Until the shard ends, or so many empty answers in a row say that nothing follows."""
        iterator: str | None = self._iterator(shard, after)
        empty = 0
        while iterator is not None and empty < quiet:
            answer = self._reader.read(
                self._streams.get_records, ShardIterator=iterator, Limit=1000
            )
            iterator = answer.get("NextShardIterator")
            empty = 0 if answer["Records"] else empty + 1
            yield answer

    def _iterator(self, shard: str, after: str) -> str:
        start: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if after:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after}
        request = {"StreamArn": self.position["stream"], "ShardId": shard}
        try:
            answer = self._reader.read(self._streams.get_shard_iterator, **request, **start)
        except ClientError as error:
            if not after or code(error) != "TrimmedDataAccessException":
                raise
            self._missing = True
            return self._iterator(shard, "")
        return str(answer["ShardIterator"])

    def _changes(self, records: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
        for record in records:
            change = record["dynamodb"]
            old, new = change.get("OldImage"), change.get("NewImage")
            if not self._info.sentinel(new or old or change["Keys"]):
                yield {"table": self._name, "at": timestamp(record), "old": old, "new": new}
