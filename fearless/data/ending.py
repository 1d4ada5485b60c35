"""End a copy for good: nobody works on it any more, and no request of its workers can land."""

from __future__ import annotations

from collections.abc import Sequence

from fearless.data.calls import Caller
from fearless.data.claim import settled_at
from fearless.data.lease import Lease
from fearless.data.machinery import Machinery
from fearless.data.membership import Membership, quiet_at, workers
from fearless.data.settings import Settings
from fearless.data.state import Row, StateTable
from fearless.interfaces import Report


def end_generation(
    lease: Lease,
    state: StateTable,
    reader: Caller,
    watcher: Membership,
    settings: Settings,
    kit: Machinery,
    report: Report,
) -> None:
    """Wait until no worker of an earlier copy works on: it would write what is old by now."""
    generation = int(lease.meta["generation"])
    while generation:
        rows = state.rows(reader, generation, "T#")
        held = {row["owner"] for row in rows if row.get("owner")}
        if not [worker for worker in held if not watcher.gone(worker)]:
            until = _quiet(rows, workers(state, reader), settings.zombie)
            _wait(until, lease, kit, report)
            return
        lease.guard()
        kit.sleep(settings.poll)


def _quiet(rows: Sequence[Row], ghosts: list[Row], zombie: float) -> float:
    """The server's time from which no request of an earlier copy can land."""
    parts = [row for row in rows if "#SEG#" in row["sk"]]
    dues = [float(row["due"]) for row in rows if "#SUS#" in row["sk"]]
    return max(settled_at(parts, zombie), quiet_at(ghosts, zombie), *dues, 0.0)


def _wait(until: float, lease: Lease, kit: Machinery, report: Report) -> None:
    while (left := until - kit.wall()) > 0:
        why = "until the last request of the copy before is dead"
        report.progress("waiting", 0, int(left), why)
        kit.sleep(min(left, 1.0))
        lease.guard()
