"""What a unit of change is told apart by: a source item's key, an old key, or a group."""

from __future__ import annotations

from fearless.data.context import Table
from fearless.data.groups import units
from fearless.data.tables import Typed


def unit_id(table: Table, key: Typed) -> bytes:
    """The identity of a unit's key; the unit of a collection is a group."""
    if table.migrate.kind == "collection":
        return units(table.source).key_id(key)
    return (table.target if table.back else table.source).key_id(key)
