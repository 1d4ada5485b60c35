"""A table whose items are merged by group: its units of work are groups, not source items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fearless.data.apply import Window
from fearless.data.calls import Caller
from fearless.data.context import Table
from fearless.data.group_rows import GroupRows
from fearless.data.groups import Group, Groups
from fearless.data.merge import Merger, Settled, Write
from fearless.data.outcome import Failure
from fearless.data.tables import TableInfo, Typed, show
from fearless.data.touched import SUSPECTS, Touched, keep
from fearless.errors import FearlessError


def groups_of(table: Table) -> Groups:
    """The groups of the table's source."""
    return Groups(table.clients.source, table.source, table.migrate, table.reader)


def merger_of(table: Table) -> Merger:
    """What settles the groups of a table; make one for each segment, and use it in one thread."""
    rows = GroupRows(table.state, lambda: table.reader, table.generation, table.name, table.target)
    return Merger(groups_of(table), table.target, rows, _Aside(table))


def written_for(table: Table) -> dict[bytes, Typed]:
    """By the identity of every target key that was ever written for a group: the group's key."""
    rows = table.rows("GRP#")
    return {table.target.key_id(key): row["group"] for row in rows for key in row["keys"]}


def whole_group(table: Table, group: Mapping[str, Any]) -> list[bytes]:
    """The identities of the source items that are in the group now."""
    found = Group.of(group)
    members = groups_of(table).members(found.hash).get(found.name, [])
    return [table.source.key_id(item) for item in members]


def apply_groups(table: Table, caller: Caller, window: Window) -> Sequence[Touched]:
    """Settle every group that a window of records touched."""
    done = merger_of(table).apply(window.lanes, _write(table, caller))
    moving = [entry for entry in done if entry.moving]
    keep(table, table.reader, SUSPECTS, _touched(moving), table.wall())
    return _touched(done)


def settle_groups(table: Table, wanted: Iterable[Touched]) -> Sequence[Touched]:
    """Settle groups: suspects, or what verification found. Raises when one never stands still."""
    return _settled(table, lambda merger, write: merger.repair(_groups(wanted), write))


def retry_groups(table: Table, keys: Iterable[Typed]) -> Sequence[Touched]:
    """Settle the groups of quarantined source items."""
    return _settled(table, lambda merger, write: merger.retry(keys, write))


def _settled(table: Table, act: Callable[[Merger, Write], list[Settled]]) -> Sequence[Touched]:
    unknown: list[bool] = []
    done = act(merger_of(table), _write(table, table.caller(lambda: unknown.append(True))))
    if unknown:
        due = table.wall() + table.settings.zombie + 2
        keep(table, table.reader, SUSPECTS, _touched(done), due)
    for entry in done:
        if entry.moving:
            raise FearlessError(
                f"table {table.name}: the group {show(entry.group.key)} changed all the time while "
                "it was repaired; try again when it is quieter"
            )
    return _touched(done)


def _write(table: Table, caller: Caller) -> Write:
    return table.writer(caller).write


def _groups(wanted: Iterable[Touched]) -> list[Group]:
    return [Group.of(entry.source) for entry in wanted]


def _touched(done: Iterable[Settled]) -> list[Touched]:
    return [Touched(entry.group.key, list(entry.keys)) for entry in done]


class _Aside:
    """The quarantine of a table, of single source items; it refuses what would be too many."""

    def __init__(self, table: Table) -> None:
        self._quarantine = table.quarantine

    def add(self, info: TableInfo, key: Mapping[str, Any], failure: Failure, seq: str) -> None:
        self._quarantine.add(info, key, failure, seq)

    def resolve(self, key_id: bytes) -> None:
        self._quarantine.resolve(key_id)
