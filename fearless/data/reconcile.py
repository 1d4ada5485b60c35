"""Make the target right for some keys, whatever it holds now: repairs, suspects, the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fearless.data.context import Table
from fearless.data.copy import rejection
from fearless.data.doubts import writer_of
from fearless.data.gather import settle_groups
from fearless.data.identity import unit_id
from fearless.data.level import Level, levels
from fearless.data.tables import Typed, show
from fearless.data.touched import SUSPECTS, Touched, drop, keep
from fearless.data.writer import Op, Rejected
from fearless.errors import FearlessError

ATTEMPTS = 50
BATCH = 100
MARGIN = 4.0
"""Seconds between the last moment a write can land and when what is kept of it falls due."""


def reconcile(table: Table, wanted: Sequence[Touched]) -> list[Touched]:
    """Write what should be and delete what else there was, until the source stood still meanwhile.

    `wanted` are units, with target keys that may hold something of theirs. What is about to be
    written is kept in rows first, so that a crash leaves nothing unknown. Safe beside the replay,
    without a lock: if the source did not change over the write, any later change has a record that
    is applied after it. Returns every key touched.
    """
    if table.migrate.kind == "collection":
        return list(settle_groups(table, wanted))
    touched: list[Touched] = []
    for start in range(0, len(wanted), BATCH):
        touched += _Batch(table, wanted[start : start + BATCH]).run()
    return touched


class _Batch:
    def __init__(self, table: Table, wanted: Sequence[Touched]) -> None:
        self._table = table
        self._units = {unit_id(table, entry.source): entry.source for entry in wanted}
        self._gone: dict[bytes, dict[bytes, Typed]] = {key_id: {} for key_id in self._units}
        for entry in wanted:
            self._note(unit_id(table, entry.source), entry.targets)
        for key_id in self._units:
            self._note(key_id, table.quarantine.held(key_id))
            if table.back:
                self._note(key_id, [self._units[key_id]])
        self._unknown = False
        self._rows: list[str] = []
        self._due = 0.0

    def run(self) -> list[Touched]:
        table, left = self._table, dict(self._units)
        caller = table.caller(self._missed)
        caller.guard = self._guard
        writer = writer_of(table, caller)
        for _ in range(ATTEMPTS):
            before = levels(table, left.values())
            self._intend(before)
            ops = [op for key_id, level in before.items() for op in self._ops(key_id, level)]
            refused = {r.op.source: r for r in writer.write(ops)}
            after = levels(table, left.values())
            for key_id, level in before.items():
                if key_id in refused or after[key_id].state == level.state:
                    self._settle(key_id, level, refused.get(key_id))
                    del left[key_id]
            if not left:
                return self._close()
        raise FearlessError(
            f"table {table.name}: {show(next(iter(left.values())))} changed during each of "
            f"{ATTEMPTS} attempts to repair it; try again when it is quieter"
        )

    def _ops(self, key_id: bytes, level: Level) -> list[Op]:
        if level.outcome.failure:
            return []
        outputs = level.outcome.outputs
        stale = {k: v for k, v in self._gone[key_id].items() if k not in outputs}
        return [Op(k, key, None, key_id) for k, key in stale.items()] + [
            Op(k, self._table.target.key(item), item, key_id) for k, item in outputs.items()
        ]

    def _intend(self, found: dict[bytes, Level]) -> None:
        """Remember every key that is about to be written, until it is known to be right."""
        for key_id, level in found.items():
            self._note(key_id, map(self._table.target.key, level.outcome.outputs.values()))
        self._keep()

    def _keep(self) -> None:
        table = self._table
        self._due = table.wall() + table.settings.zombie + MARGIN
        self._rows += keep(table, table.reader, SUSPECTS, self._touched(), self._due)

    def _guard(self) -> None:
        """Before each write: what is kept must not fall due while the write may still land."""
        table = self._table
        if table.wall() + table.settings.zombie + MARGIN / 2 > self._due:
            self._keep()
        table.guard()

    def _settle(self, key_id: bytes, level: Level, rejected: Rejected | None) -> None:
        table, key = self._table, self._units[key_id]
        failure = level.outcome.failure
        if rejected is not None:
            failure = rejection(rejected, key)
        if failure:
            info = table.target if table.back else table.source
            table.quarantine.add(info, key, failure, "repair", self._gone[key_id].values())
        else:
            table.quarantine.resolve(key_id)

    def _close(self) -> list[Touched]:
        old, self._rows = self._rows, []
        if self._unknown:
            self._keep()
        drop(self._table, old)
        return self._touched()

    def _touched(self) -> list[Touched]:
        return [
            Touched(key, list(self._gone[key_id].values())) for key_id, key in self._units.items()
        ]

    def _note(self, key_id: bytes, keys: Any) -> None:
        info = self._table.target
        self._gone[key_id].update((info.key_id(key), info.key(key)) for key in keys)

    def _missed(self) -> None:
        self._unknown = True
