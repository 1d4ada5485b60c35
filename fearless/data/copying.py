"""Copy every segment of a run, up to the barrier."""

from __future__ import annotations

from collections.abc import Sequence

from fearless.data.claim import settled_at
from fearless.data.context import Table
from fearless.data.copy import segment_sk
from fearless.data.membership import quiet_at, workers
from fearless.data.session import Session
from fearless.data.unit import Unit
from fearless.errors import FearlessError


def copy(session: Session, total: int) -> None:
    """Copy every segment of every table; returns behind the barrier, when nothing can land."""
    order = reversed_bits(total)

    def left() -> list[Unit]:
        units = {name: _segments(session, table, order) for name, table in session.tables.items()}
        most = max((len(part) for part in units.values()), default=0)
        return [part[n] for n in range(most) for part in units.values() if n < len(part)]

    with session.hire() as crew:
        session.work(crew, left)
    _barrier(session)


def _segments(session: Session, table: Table, order: Sequence[int]) -> list[Unit]:
    rows = {int(row["segment"]): row for row in table.rows("SEG#")}
    done = sum(int(row["read"]) for row in rows.values())
    moved = sum(int(row["bytes"]) for row in rows.values())
    note = f"{moved / 1e6:.1f} MB" if moved else ""
    if kept := len(table.quarantine):
        note = f"{note}, {kept} in quarantine".lstrip(", ")
    session.report.progress(f"copy {table.name}", done, table.source.count or None, note)
    return [Unit("copy", table.name, str(n)) for n in order if n not in rows or not rows[n]["done"]]


def _barrier(session: Session) -> None:
    """Wait until no write of the copy can land any more; count that nothing got lost."""
    until = quiet_at(
        workers(session.first.state, session.first.reader), session.first.settings.zombie
    )
    for table in session.tables.values():
        rows = table.rows("SEG#")
        until = max(until, settled_at(rows, table.settings.zombie))
        for row in rows:
            if int(row["read"]) != sum(int(row[n]) for n in ("kept", "dropped", "quarantined")):
                raise FearlessError(
                    f"table {table.name}: segment {row['segment']} read {row['read']} items, "
                    f"but accounts for another number ({segment_sk(int(row['segment']))}); "
                    "this is a fault of Fearless: copy again and report it"
                )
    session.wait_until(until, "a worker fell silent, or a write of the copy was not answered")


def reversed_bits(total: int) -> list[int]:
    """0..total-1, neighbours far apart: an item collection lies in segments next to each other."""
    width = max(1, (total - 1).bit_length())
    return sorted(range(total), key=lambda n: int(f"{n:0{width}b}"[::-1], 2))
