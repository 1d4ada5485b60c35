"""Read a table's stream shard by shard, parents first, and apply it window by window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.apply import apply, timestamp
from fearless.data.calls import code
from fearless.data.context import Table
from fearless.data.position import RETENTION, Gap, describe_stream

WINDOW = 1000
REFRESH = 10.0
SUCCESSOR = 60.0


@dataclass
class Shard:
    """A shard and how far it has been applied. `checkpoint` covers everything before it too."""

    id: str
    parent: str | None
    done: bool = False
    checkpoint: str = ""
    applied: int = 0
    read_to: float = 0.0
    iterator: str | None = None
    empty: int = 0
    near: bool = False
    tokens: set[str] = field(default_factory=set)


class Follower:
    """Follows the stream of one table. Only the holder of the run's lease may use it."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._stream = str(table.position["stream"])
        self._first: Mapping[str, str | None] = table.position["shards"]
        self._last = frozenset(table.position["last"])
        self._orphans: dict[str, int] = {}
        self._alone: dict[str, float] = {}
        self._clock = table.reader.clock
        self._refreshed = float("-inf")
        self._server = 0.0
        self.shards: dict[str, Shard] = {}
        self.newest = 0.0
        self.fresh = 0
        self.sentinels = 0

    def load(self) -> None:
        """Take up the shards where the last process left them."""
        for row in self.table.rows("SHARD#"):
            self.shards[row["shard"]] = Shard(
                row["shard"],
                row["parent"],
                bool(row["done"]),
                row["checkpoint"],
                int(row["applied"]),
                float(row["read_to"]),
            )
        for shard, parent in self._first.items():
            if shard not in self.shards:
                self._discover(shard, parent)

    def restart(self) -> None:
        """Begin another round of catching up: what is the end now may not be it any more."""
        self.refresh()
        for shard in self.shards.values():
            shard.empty, shard.near = 0, False

    @property
    def now(self) -> float:
        """The server's clock, in Unix seconds, to about one second."""
        return self._server + self._clock() - self._refreshed

    @property
    def lag(self) -> float:
        """Seconds between the newest change applied and now; 0 when all shards are at their end."""
        if self.at_tip():
            return 0.0
        return max(0.0, self.now - (self.newest or float(self.table.position["t0"])))

    def refresh(self) -> None:
        """List the shards again. Raises Gap when one that was not finished is gone."""
        listing = describe_stream(self.table.reader, self.table.streams, self._stream)
        self._refreshed, self._server = self._clock(), float(listing.now)
        if not listing.enabled:
            raise self._gap("its stream was switched off")
        if listing.view != "NEW_AND_OLD_IMAGES":
            raise self._gap(f"its stream now has view type {listing.view}")
        seen = [shard.read_to for shard in self.shards.values()]
        self._check_age("the stream", max(seen, default=0.0))
        listed = dict(listing.shards)
        for shard in self.shards.values():
            if not shard.done and shard.id not in listed:
                raise self._gap(f"shard {shard.id} is gone before it was read to its end")
        for shard_id, parent in listed.items():
            if shard_id in self.shards:
                continue
            if parent and parent not in self.shards and parent not in listed:
                self._orphans[shard_id] = self._orphans.get(shard_id, 0) + 1
                if self._orphans[shard_id] > 3:
                    raise self._gap(f"shard {parent} came and went without being read")
                continue
            self._discover(shard_id, parent)
        alone = self._childless()
        self._alone = {shard: self._alone.get(shard, self._clock()) for shard in alone}
        for shard_id, since in self._alone.items():
            if self._clock() - since > SUCCESSOR:
                raise self._gap(f"shard {shard_id} ended and nothing came after it")

    def step(self) -> int:
        """Read and apply one window of every shard whose parent is done; the records read."""
        self.table.guard()
        if self._clock() - self._refreshed > REFRESH:
            self.refresh()
        read, ended = 0, False
        for shard in list(self.shards.values()):
            if self._runnable(shard):
                read += self._window(shard)
                ended |= shard.done
        if ended:
            self.refresh()
        return read

    def at_tip(self) -> bool:
        """True when every shard is read to its end, or is moving and seconds behind at most."""
        polls = self.table.settings.tip_polls
        return self._whole() and all(
            shard.done or shard.empty >= polls or shard.near for shard in self.shards.values()
        )

    def delivered(self, token: str) -> bool:
        """True when every open shard has delivered a sentinel with this token."""
        still = [shard for shard in self.shards.values() if not shard.done]
        return bool(still) and self._whole() and all(token in shard.tokens for shard in still)

    def save(self) -> None:
        """Remember how far the quiet shards have been read, for the check of retention."""
        for shard in self.shards.values():
            if not shard.done and shard.empty >= self.table.settings.tip_polls:
                shard.read_to = self.now
                self._put(shard)

    def _whole(self) -> bool:
        return not self._orphans.keys() - self.shards.keys() and not self._childless()

    def _childless(self) -> list[str]:
        """Shards that ended since P0 and whose successors are not listed yet."""
        parents = {shard.parent for shard in self.shards.values()}
        return [
            shard.id
            for shard in self.shards.values()
            if shard.done and shard.id not in parents and shard.id not in self._last
        ]

    def _discover(self, shard_id: str, parent: str | None) -> None:
        shard = Shard(shard_id, parent)
        if parent in self.shards:
            shard.read_to = self.shards[parent].read_to
        self.shards[shard_id] = shard
        self._put(shard)

    def _runnable(self, shard: Shard) -> bool:
        if shard.done:
            return False
        parent = self.shards.get(shard.parent or "")
        return parent is None or parent.done

    def _window(self, shard: Shard) -> int:
        if shard.iterator is None:
            shard.iterator = self._open(shard)
        try:
            answer = self.table.reader.read(
                self.table.streams.get_records, ShardIterator=shard.iterator, Limit=WINDOW
            )
        except ClientError as error:
            if code(error) == "ExpiredIteratorException":
                shard.iterator = None
                return 0
            raise self._lost(shard, error) from error
        records = answer["Records"]
        following = answer.get("NextShardIterator")
        if records:
            done = apply(self.table, records)
            self.newest = max(self.newest, timestamp(records[-1]))
            shard.checkpoint = records[-1]["dynamodb"]["SequenceNumber"]
            shard.applied += done.records
            self.fresh += done.records
            shard.read_to = timestamp(records[-1])
            shard.tokens |= done.tokens
            shard.near = (
                len(records) < WINDOW
                and self.now - timestamp(records[-1]) <= self.table.settings.near
            )
        shard.empty = 0 if records else shard.empty + 1
        shard.iterator = following
        shard.done = following is None
        if records or shard.done:
            self._put(shard)
        return len(records)

    def _open(self, shard: Shard) -> str:
        request: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if shard.checkpoint:
            request = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": shard.checkpoint,
            }
        try:
            answer = self.table.reader.read(
                self.table.streams.get_shard_iterator,
                StreamArn=self._stream,
                ShardId=shard.id,
                **request,
            )
        except ClientError as error:
            raise self._lost(shard, error) from error
        self._check_age(f"shard {shard.id}", shard.read_to)
        return str(answer["ShardIterator"])

    def _check_age(self, what: str, read_to: float) -> None:
        age = self.now - max(read_to, float(self.table.position["t0"]))
        if age > RETENTION:
            raise self._gap(
                f"{what} was last read {age / 3600:.0f} hours ago, and streams keep 24 hours only"
            )

    def _lost(self, shard: Shard, error: ClientError) -> Exception:
        if code(error) == "TrimmedDataAccessException":
            return self._gap(f"shard {shard.id} was trimmed past what had been applied")
        if code(error) == "ResourceNotFoundException":
            return self._gap(f"shard {shard.id} or its stream does not exist any more")
        return error

    def _gap(self, what: str) -> Gap:
        return Gap(f"table {self.table.name} ({self.table.source.table}): {what}")

    def _put(self, shard: Shard) -> None:
        self.table.put_row(
            f"SHARD#{shard.id}",
            {
                "shard": shard.id,
                "parent": shard.parent,
                "done": shard.done,
                "checkpoint": shard.checkpoint,
                "applied": shard.applied,
                "read_to": int(shard.read_to),
            },
        )
