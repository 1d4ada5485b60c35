"""Carry changes of the new table back to the old one, old item by old item."""

from __future__ import annotations

from collections.abc import Sequence

from fearless.data.apply import Window
from fearless.data.calls import Caller
from fearless.data.context import Table
from fearless.data.identity import unit_id
from fearless.data.reconcile import reconcile
from fearless.data.touched import Touched
from fearless.data.transform import Failure

NOBODYS = Failure("the way back", "NoOwner", "no item of the old table owns this one")


def apply_back(table: Table, _: Caller, window: Window) -> Sequence[Touched]:
    """Make right every old item that one of the changed items belongs to.

    What the new table holds *now* decides, so the order of changes, and one of them seen twice, do
    not matter; a change made meanwhile has a record of its own.
    """
    units: dict[bytes, Touched] = {}
    for lane in window.lanes:
        image = next(state for state in reversed(lane.states) if state is not None)
        owner = table.migrate.owner(image)
        if owner is None:
            table.quarantine.add(table.source, lane.key, NOBODYS, lane.seq)
        else:
            units[unit_id(table, owner)] = Touched(owner, [owner])
    return reconcile(table, list(units.values()))
