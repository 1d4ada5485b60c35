"""What copying, replaying and verifying one table have in common."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from fearless.data.calls import Caller
from fearless.data.changes import Changes
from fearless.data.lease import Halted, Lease
from fearless.data.quarantine import Quarantine
from fearless.data.state import Row, StateTable
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.data.writer import Writer
from fearless.errors import FearlessError
from fearless.interfaces import Report


@dataclass(frozen=True)
class Settings:
    """How a run is done. Times in seconds.

    `segments`: parallel scans, and threads. `zombie`: after so long a request that was sent can
    no longer land. Changes stamped more than `skew` before the position are in the scan already
    (it reads later, and consistently), so they are not replayed. `max_quarantine`: more failed
    items than this stop the copy. `tip_polls` empty answers, `poll` apart, mean that a shard has
    been read to its end for now.
    """

    segments: int = 4
    zombie: float = 900.0
    skew: float = 300.0
    lease: float = 40.0
    max_quarantine: int = 1000
    page: int | None = None
    poll: float = 0.25
    tip_polls: int = 3
    near: float = 2.0
    drain: float = 120.0
    buckets: int = 8192
    rounds: int = 5
    purity: int = 500


class TooManyFailures(FearlessError):
    """So many items fail that the transform must be wrong."""


@dataclass(frozen=True)
class Table:
    """One table of a run while its lease is held."""

    name: str
    source: TableInfo
    target: TableInfo
    migrate: Pipeline
    position: Row
    generation: int
    source_client: Any
    target_client: Any
    streams: Any
    state: StateTable
    lease: Lease | None
    quarantine: Quarantine
    halt: threading.Event
    settings: Settings
    report: Report
    reader: Caller
    keeper: Caller
    copying: Caller
    applying: Caller
    changes: Changes

    def put_row(self, sk: str, row: Row) -> None:
        """Write a state row of this table: `sk` follows `T#<table>#`."""
        if self.lease is None:
            raise RuntimeError("state rows are written by the holder of the lease only")
        self.state.put(self.keeper, self.generation, self.lease.epoch, f"T#{self.name}#{sk}", row)

    def guard(self) -> None:
        """Raise when another thread failed, or when the lease is gone."""
        if self.halt.is_set():
            raise Halted("stopped, because another part failed")
        if self.lease is not None:
            self.lease.guard()

    def rows(self, prefix: str) -> list[Row]:
        """This table's state rows whose key starts with `prefix`."""
        return self.state.rows(self.reader, self.generation, f"T#{self.name}#{prefix}")

    def writer(self, caller: Caller) -> Writer:
        """Writes to the target through `caller`, which says what an unanswered write means."""
        return Writer(self.target_client, self.target, caller)
