"""The groups of source items that a `collection` merges: which there are, and what they become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fearless.data.calls import Caller
from fearless.data.canonical import item_bytes
from fearless.data.fetch import family, fetch
from fearless.data.outcome import Failed, Failure, Outcome
from fearless.data.tables import TableInfo, Typed
from fearless.data.transform import Pipeline

GROUP = "~group"


@dataclass(frozen=True)
class Group:
    """A group of source items: those with this hash key which `group()` gives this name."""

    hash: Typed
    name: str

    @property
    def key(self) -> Typed:
        """As a key of the table that `units` describes: what rows and lists know it by."""
        return {**self.hash, GROUP: {"S": self.name}}

    @property
    def id(self) -> bytes:
        """Its identity."""
        return item_bytes(self.key)

    @classmethod
    def of(cls, key: Mapping[str, Any]) -> Group:
        """From its `key`."""
        return cls({n: v for n, v in key.items() if n != GROUP}, key[GROUP]["S"])


def units(source: TableInfo) -> TableInfo:
    """A table whose items would be the groups, for whatever identifies units by a TableInfo."""
    hash_key = source.keys[0]
    types = {hash_key: source.types[hash_key], GROUP: "S"}
    return replace(source, keys=(hash_key, GROUP), types=types)


class Groups:
    """The groups of one source table, by consistent reads of `reader` through `client`."""

    def __init__(self, client: Any, source: TableInfo, migrate: Pipeline, reader: Caller) -> None:
        self.source = source
        self.migrate = migrate
        self._client = client
        self._reader = reader

    def find(
        self, items: Iterable[Typed | None]
    ) -> tuple[dict[bytes, Group], dict[bytes, Failure]]:
        """The groups of items or images, and the failures by the identity of the source key."""
        groups: dict[bytes, Group] = {}
        failures: dict[bytes, Failure] = {}
        for item in items:
            if item is None or self.source.sentinel(item):
                continue
            try:
                group = self.group(item)
            except Failed as error:
                failures[self.source.key_id(item)] = error.failure
                continue
            if group is not None:
                groups[group.id] = group
        return groups, failures

    def group(self, item: Typed) -> Group | None:
        """The group of an item, None when it is dropped. Raises Failed."""
        name = self.migrate.group(item)
        return Group({self.source.keys[0]: item[self.source.keys[0]]}, name) if name else None

    def levels(self, groups: Iterable[Group]) -> dict[bytes, tuple[bytes, Outcome]]:
        """By group: what identifies its members now, and what they become."""
        found: dict[bytes, tuple[bytes, Outcome]] = {}
        for part in by_partition(groups):
            members = self.members(part[0].hash)
            for group in part:
                mine = members.get(group.name, [])
                found[group.id] = (state(mine), self.migrate.merged(mine))
        return found

    def expected(self, pages: Iterable[Sequence[Typed]]) -> Iterator[list[tuple[Group, Outcome]]]:
        """For each page of a scan: the groups whose first member, in the order of keys, is in it.

        Over all segments of a scan each group comes exactly once while nothing changes. Whose
        `group()` fails is in no group.
        """
        partition: bytes | None = None
        firsts: dict[bytes, tuple[Group, list[Typed]]] = {}
        for page in pages:
            found: list[tuple[Group, Outcome]] = []
            for item in page:
                hashed = {self.source.keys[0]: item[self.source.keys[0]]}
                if item_bytes(hashed) != partition:
                    partition = item_bytes(hashed)
                    firsts = {
                        self.source.key_id(members[0]): (Group(hashed, name), members)
                        for name, members in self.members(hashed).items()
                    }
                first = firsts.get(self.source.key_id(item))
                if first is not None:
                    found.append((first[0], self.migrate.merged(first[1])))
            yield found

    def items(self, keys: Iterable[Typed]) -> dict[bytes, Typed]:
        """The source items of those keys that are there, by the identity of the key."""
        return fetch(self._reader, self._client, self.source, keys)

    def members(self, hashed: Typed) -> dict[str, list[Typed]]:
        """All items of a partition by the name of their group, in the order of keys."""
        found: dict[str, list[Typed]] = {}
        for item in family(self._reader, self._client, self.source, hashed, None):
            groups, _ = self.find([item])
            for group in groups.values():
                found.setdefault(group.name, []).append(item)
        return found


def by_partition(groups: Iterable[Group]) -> list[list[Group]]:
    """The groups, each once, in lists of those that one Query reads."""
    found: dict[bytes, dict[bytes, Group]] = {}
    for group in groups:
        found.setdefault(item_bytes(group.hash), {})[group.id] = group
    return [list(part.values()) for part in found.values()]


def state(members: Iterable[Typed]) -> bytes:
    """What identifies all members of a group: equal when nothing changed."""
    return b"\n".join(sorted(map(item_bytes, members)))
