"""What the target should hold for some keys, from what the source holds now: either direction.

Forward, one source item at a time decides about its outputs. On the way back, all the new items
that an old item became decide, together with what the old table holds, about that old item. Only
units that the new release has written come up: where it has none left, the old item goes, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fearless.data.canonical import item_bytes
from fearless.data.context import Table
from fearless.data.fetch import family, fetch
from fearless.data.gather import groups_of
from fearless.data.groups import Group
from fearless.data.identity import unit_id
from fearless.data.tables import Typed
from fearless.data.transform import NOTHING, Outcome


@dataclass(frozen=True)
class Level:
    """What one key's source side holds (equal `state`: nothing changed), and what follows."""

    state: bytes
    outcome: Outcome


def levels(table: Table, keys: Iterable[Typed]) -> dict[bytes, Level]:
    """The level of each of these units: source keys forward, the old table's keys on the way back.

    By the identity of the key.
    """
    wanted = {unit_id(table, key): key for key in keys}
    if table.migrate.kind == "collection":
        found = groups_of(table).levels(map(Group.of, wanted.values()))
        return {key_id: Level(*found[key_id]) for key_id in wanted}
    return _backward(table, wanted) if table.back else _forward(table, wanted)


def _forward(table: Table, wanted: Mapping[bytes, Typed]) -> dict[bytes, Level]:
    items = fetch(table.reader, table.clients.source, table.source, wanted.values())
    found = {}
    for key_id in wanted:
        item = items.get(key_id)
        state = item_bytes(item) if item is not None else b""
        found[key_id] = Level(state, table.migrate(item))
    return found


def _backward(table: Table, wanted: Mapping[bytes, Typed]) -> dict[bytes, Level]:
    members = _members(table, wanted)
    olds = fetch(table.reader, table.clients.target, table.target, wanted.values())
    found = {}
    for key_id in wanted:
        items = members[key_id]
        state = b"".join(sorted(item_bytes(item) for item in items))
        outcome = table.migrate.back(items, olds.get(key_id)) if items else NOTHING
        found[key_id] = Level(state, outcome)
    return found


def _members(table: Table, wanted: Mapping[bytes, Typed]) -> dict[bytes, list[Typed]]:
    """The new items that belong to each old key."""
    if table.migrate.kind == "keep-key":
        items = fetch(table.reader, table.clients.source, table.source, wanted.values())
        return {key_id: [items[key_id]] if key_id in items else [] for key_id in wanted}
    found = {}
    for key_id, key in wanted.items():
        near = family(
            table.reader, table.clients.source, table.source, key, table.migrate.prefix(key)
        )
        found[key_id] = [item for item in near if owner_id(table, item) == key_id]
    return found


def owner_id(table: Table, item: Typed) -> bytes | None:
    """The identity of the unit that a transformed item belongs to; None if there is none."""
    owner = table.migrate.owner(item)
    return None if owner is None else unit_id(table, owner)
