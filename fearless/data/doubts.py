"""Conditional writes for a table whose keys pass between items, and the doubts they leave."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fearless.data.calls import Caller
from fearless.data.context import Table
from fearless.data.fetch import fetch
from fearless.data.outcome import Failure
from fearless.data.tables import Typed
from fearless.data.touched import SUSPECTS, Touched, drop, keep
from fearless.data.transfer import Run, Settle, Source, Transfer, no_doubt, one_by_one
from fearless.data.writer import Writer


def writer_of(table: Table, caller: Caller, *, copying: bool = False) -> Writer | Transfer:
    """What writes to the table's target. `copying`: before the barrier."""
    if table.migrate.kind == "transferable":
        return transfer_of(table, caller, copying=copying)
    return table.writer(caller)


def transfer_of(
    table: Table, caller: Caller, *, copying: bool = False, run: Run = one_by_one
) -> Transfer:
    """What writes to the table's target instead of a Writer. `copying`: before the barrier."""
    return Transfer(
        table.clients.target,
        table.target,
        caller,
        Source(table.source, table.migrate, partial(_read, table)),
        no_doubt if copying else partial(_doubt, table),
        partial(_collided, table),
        run,
    )


def _read(table: Table, key: Typed) -> Typed | None:
    found = fetch(table.reader, table.clients.source, table.source, [key])
    return next(iter(found.values()), None)


def _doubt(table: Table, pairs: Sequence[tuple[Typed, Typed]]) -> Settle:
    """Rows as suspects have. Who dies before the end cannot have sent it later than `patience`."""
    touched = [Touched(source, [target]) for source, target in pairs]
    latest = table.settings.zombie + table.reader.patience
    rows = keep(table, table.reader, SUSPECTS, touched, table.wall() + latest)

    def settle(safe: bool) -> None:
        if not safe:
            due = table.wall() + table.settings.zombie + 2
            keep(table, table.reader, SUSPECTS, touched, due)
        drop(table, rows)

    return settle


def _collided(table: Table, key: Typed, message: str, target: Typed) -> None:
    """The message names keys, and no values."""
    failure = Failure("transfer", "Collision", message)
    table.quarantine.add(table.source, key, failure, "transfer", [target])
