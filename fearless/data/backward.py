"""Carry changes of the new table back to the old one, old item by old item."""

from __future__ import annotations

from collections.abc import Sequence

from fearless.data.apply import Window
from fearless.data.calls import Caller
from fearless.data.context import Table
from fearless.data.fetch import fetch
from fearless.data.identity import unit_id
from fearless.data.reconcile import reconcile
from fearless.data.state import Row
from fearless.data.touched import Touched
from fearless.data.transform import Failure

NOBODYS = Failure("the way back", "NoOwner", "no item of the old table owns this one")


def apply_back(table: Table, _: Caller, window: Window) -> Sequence[Touched]:
    """Make right every old item that one of the changed items belongs to.

    Test items stay where they are. What the new table holds *now* decides, so the order of
    changes, and one of them seen twice, do not matter; a change made meanwhile has a record of its
    own.
    """
    units: dict[bytes, Touched] = {}
    for lane in window.lanes:
        image = next(state for state in reversed(lane.states) if state is not None)
        if table.source.test(lane.key):
            continue
        owner = table.migrate.owner(image)
        if owner is None:
            stray = lane.states[-1] is not None
            if stray:
                table.quarantine.add(table.source, lane.key, NOBODYS, lane.seq, stray=True)
            else:
                table.quarantine.resolve(lane.key_id, stray=True)
        else:
            units[unit_id(table, owner)] = Touched(owner, [owner])
    return reconcile(table, list(units.values()))


def retry_back(table: Table, rows: Sequence[Row]) -> list[Touched]:
    """Try quarantined items of the way back again: old items, and new ones that nobody owned."""
    strays = [row["key"] for row in rows if row.get("stray")]
    units = [Touched(row["key"], [row["key"]]) for row in rows if not row.get("stray")]
    items = fetch(table.reader, table.clients.source, table.source, strays)
    for key in strays:
        item = items.get(table.source.key_id(key))
        owner = None if item is None else table.migrate.owner(item)
        if owner is not None:
            units.append(Touched(owner, [owner]))
        if item is None or owner is not None:
            table.quarantine.resolve(table.source.key_id(key), stray=True)
    return reconcile(table, units)
