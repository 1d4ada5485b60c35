"""The shards of a table's stream: who descends from whom, and how far each has been applied."""

from __future__ import annotations

from collections.abc import Mapping

from fearless.data.context import Table
from fearless.data.position import describe_stream
from fearless.data.replay import check_age, gap, new_shard, shard_sk
from fearless.data.state import Row

REFRESH = 10.0
SUCCESSOR = 60.0


class Lineage:
    """What the coordinator knows of one table's shards. Times in seconds, of the server's clock."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.shards: dict[str, Row] = {}
        self._stream = str(table.position["stream"])
        self._last = frozenset(table.position["last"])
        self._orphans: dict[str, int] = {}
        self._alone: dict[str, float] = {}
        self._clock = table.machinery.clock
        self._refreshed = float("-inf")

    def load(self) -> None:
        """See how far each shard has come; those of the position are made when they are not there.

        A position may say after which record of a shard it begins (`after`), and which shards had
        ended before it (`ended`).
        """
        self.shards = {row["shard"]: row for row in self.table.rows("SHARD#")}
        position = self.table.position
        after: Mapping[str, str] = position.get("after") or {}
        ended = set(position.get("ended") or ())
        for shard, parent in position["shards"].items():
            if shard not in self.shards:
                self._make(shard, parent, after.get(shard, ""), shard in ended)

    def refresh(self, force: bool = False) -> None:
        """List the shards again, if it is time to. Raises Gap when one not finished is gone."""
        ended = any(row["done"] for row in self.shards.values()) and not self.whole()
        if not force and not ended and self._clock() - self._refreshed < REFRESH:
            return
        listing = describe_stream(self.table.reader, self.table.clients.streams, self._stream)
        self._refreshed = self._clock()
        if not listing.enabled:
            raise gap(self.table, "its stream was switched off")
        if listing.view != "NEW_AND_OLD_IMAGES":
            raise gap(self.table, f"its stream now has view type {listing.view}")
        self.load()
        read = [float(row["read_to"]) for row in self.shards.values()]
        check_age(self.table, "the stream", max(read, default=0.0))
        listed = dict(listing.shards)
        for row in self.shards.values():
            if not row["done"] and row["shard"] not in listed:
                raise gap(self.table, f"shard {row['shard']} is gone before it was read to its end")
        for shard, parent in listed.items():
            if shard not in self.shards and not self._orphan(shard, parent, listed):
                self._make(shard, parent)
        alone = self._childless()
        self._alone = {shard: self._alone.get(shard, self._clock()) for shard in alone}
        for shard, since in self._alone.items():
            if self._clock() - since > SUCCESSOR:
                raise gap(self.table, f"shard {shard} ended and nothing came after it")

    def runnable(self) -> list[str]:
        """Shards that are not done and whose parent is."""
        return [
            row["shard"]
            for row in self.shards.values()
            if not row["done"]
            and (row["parent"] not in self.shards or self.shards[row["parent"]]["done"])
        ]

    def behind(self, since: float) -> list[str]:
        """Runnable shards not known to be applied up to that moment, or with shards after them."""
        parents = {row["parent"] for row in self.shards.values()}
        return [
            shard
            for shard in self.runnable()
            if shard in parents or self._tip(self.shards[shard]) < since
        ]

    def caught_up(self, since: float) -> bool:
        """Whether every change made before that moment is applied."""
        rows = [row for row in self.shards.values() if not row["done"]]
        return self.whole() and all(self._tip(row) >= since for row in rows)

    def delivered(self, token: str) -> bool:
        """True when every open shard has delivered a sentinel with this token."""
        still = [row for row in self.shards.values() if not row["done"]]
        return bool(still) and self.whole() and all(token in row["tokens"] for row in still)

    def lag(self, now: float) -> float:
        """Seconds that the shard which is furthest behind is behind."""
        rows = [row for row in self.shards.values() if not row["done"]]
        first = float(self.table.position["t0"])
        ends = [max(self._tip(row), int(row["last"]) / 1000, first) for row in rows]
        return max(0.0, now - min(ends, default=now))

    def whole(self) -> bool:
        """Whether every shard that ended has a successor that we know."""
        return not self._orphans.keys() - self.shards.keys() and not self._childless()

    @staticmethod
    def _tip(row: Row) -> float:
        return int(row["tip"]) / 1000

    def _childless(self) -> list[str]:
        """Shards that ended since P0 and whose successors are not listed yet."""
        parents = {row["parent"] for row in self.shards.values()}
        return [
            shard
            for shard, row in self.shards.items()
            if row["done"] and shard not in parents and shard not in self._last
        ]

    def _orphan(self, shard: str, parent: str | None, listed: Mapping[str, str | None]) -> bool:
        """A listing may show a child before its parent; if that lasts, the parent was missed."""
        if not parent or parent in self.shards or parent in listed:
            return False
        self._orphans[shard] = self._orphans.get(shard, 0) + 1
        if self._orphans[shard] > 3:
            raise gap(self.table, f"shard {parent} came and went without being read")
        return True

    def _make(
        self, shard: str, parent: str | None, checkpoint: str = "", ended: bool = False
    ) -> None:
        table = self.table
        before = self.shards.get(parent or "")
        read_to = int(before["read_to"]) if before else 0
        new = {**new_shard(shard, parent, checkpoint, read_to), "done": ended}
        sk = f"T#{table.name}#{shard_sk(shard)}"
        made = table.state.replace(table.reader, table.generation, sk, new, None)
        found = made or table.state.row(table.reader, table.generation, sk)
        if found is not None:
            self.shards[shard] = found
