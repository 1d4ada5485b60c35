"""What copying, replaying, repairing and verifying one table have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fearless.data.calls import Brake, Caller
from fearless.data.job import Clients
from fearless.data.machinery import Machinery
from fearless.data.quarantine import Quarantine
from fearless.data.settings import Settings
from fearless.data.state import Row, StateTable
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.data.writer import Writer
from fearless.errors import FearlessError

__all__ = ["Settings", "Table", "TooManyFailures"]


class TooManyFailures(FearlessError):
    """So many items fail that the transform must be wrong."""


@dataclass(frozen=True)
class Table:
    """One table of a run, as one worker (or the coordinator) sees it.

    `guard` raises when nothing may be written any more. `back`: the way back, from the new table
    to the old one.
    """

    name: str
    source: TableInfo
    target: TableInfo
    migrate: Pipeline
    position: Row
    generation: int
    clients: Clients
    state: StateTable
    quarantine: Quarantine
    settings: Settings
    machinery: Machinery
    brake: Brake | None
    guard: Callable[[], None]
    back: bool = False

    @property
    def reader(self) -> Caller:
        """Calls that change nothing, or only what may be done twice at any time."""
        return self.caller(lambda: None)

    def caller(self, unknown: Callable[[], None]) -> Caller:
        """Calls that hear by `unknown` of each write that may land later."""
        kit = self.machinery
        return Caller(
            self.guard, unknown, kit.clock, kit.sleep, unknown, rng=kit.random(), brake=self.brake
        )

    def wall(self) -> float:
        """The server's clock, in Unix seconds."""
        return self.machinery.wall()

    def rows(self, prefix: str) -> list[Row]:
        """This table's state rows whose key starts with `prefix`."""
        return self.state.rows(self.reader, self.generation, f"T#{self.name}#{prefix}")

    def writer(self, caller: Caller) -> Writer:
        """Writes to the target through `caller`, which says what an unanswered write means."""
        return Writer(self.clients.target, self.target, caller)
