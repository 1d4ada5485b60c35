"""Digest one segment of one side of a table, as a unit of work; the answer is a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fearless.data.claim import Stopping
from fearless.data.context import Table
from fearless.data.digests import Buckets
from fearless.data.gather import groups_of
from fearless.data.scan import Side, scan
from fearless.data.state import Row
from fearless.data.tables import Typed

SHOWN = 100
"""Keys of items that cannot be migrated, or not back, that a segment's answer names at most."""

ROOM = 60_000
"""Characters of keys in one answer: it is one row, with the buckets."""

LEAST, EACH = 64, 64
"""Buckets at least, and items that should share one at most while there are few."""


@dataclass
class Part:
    """What the digest of a segment found, besides its buckets."""

    buckets: Buckets
    failed: int = 0
    failures: list[Typed] = field(default_factory=list)
    irreversible: int = 0
    examples: list[Typed] = field(default_factory=list)
    room: int = ROOM

    def show(self, keys: list[Typed], key: Typed) -> None:
        """Keep a key for people, if there is room for it in the row."""
        self.room -= len(str(key))
        if len(keys) < SHOWN and self.room > 0:
            keys.append(key)


def size(items: int, most: int) -> int:
    """How many buckets are fit for so many items: a power of two."""
    buckets = LEAST
    while buckets < most and buckets * EACH < items:
        buckets *= 2
    return min(buckets, most)


def part_sk(watch: int, part: str) -> str:
    """Where the answer for a part (`source/3`) of the `watch`-th verification lies."""
    return f"VER#{watch:06d}#{part}"


def digest_part(
    table: Table, watch: int, part: str, total: int, buckets: int, stop: Stopping
) -> bool:
    """Digest a segment unless that was done; False when asked to stop before its end."""
    sk = f"T#{table.name}#{part_sk(watch, part)}"
    if table.state.row(table.reader, table.generation, sk) is not None:
        return True
    side, _, number = part.partition("/")
    found = Part(Buckets(buckets))
    sources = _groups if table.migrate.kind == "collection" else _source
    pages = sources(table, found, int(number), total) if side == "source" else None
    for _ in pages or _target(table, found, int(number), total):
        table.guard()
        if stop():
            return False
    row: Row = {
        "part": part,
        "blob": found.buckets.pack(),
        "total": found.buckets.total,
        "failed": found.failed,
        "failures": found.failures,
        "irreversible": found.irreversible,
        "examples": found.examples,
        "done": True,
    }
    table.state.replace(table.reader, table.generation, sk, row, None)
    return True


def outputs(table: Table, number: int, total: int) -> Iterator[tuple[bytes, Typed, Typed]]:
    """`(target key id, output, the key of its unit)` of a segment; those that fail have none."""
    sentinel = table.source.sentinel
    pages = scan(table, "source", number, total)
    if table.migrate.kind == "collection":
        for found in groups_of(table).expected(pages):
            for group, outcome in found:
                for key_id, output in outcome.outputs.items():
                    yield key_id, output, group.key
        return
    for items in pages:
        for item in items:
            if not sentinel(item):
                for key_id, output in table.migrate(item).outputs.items():
                    yield key_id, output, table.source.key(item)


def _source(table: Table, found: Part, number: int, total: int) -> Iterator[None]:
    check_back = not table.migrate.plain and not table.migrate.one_way
    sentinel = table.source.sentinel
    for items in scan(table, "source", number, total):
        for item in items:
            if sentinel(item):
                continue
            outcome = table.migrate(item)
            if outcome.failure:
                found.failed += 1
                found.show(found.failures, table.source.key(item))
            elif check_back and not table.migrate.round_trip(item, outcome):
                found.irreversible += 1
                found.show(found.examples, table.source.key(item))
            for key_id, output in outcome.outputs.items():
                found.buckets.add(key_id, output)
        yield


def _groups(table: Table, found: Part, number: int, total: int) -> Iterator[None]:
    for page in groups_of(table).expected(scan(table, "source", number, total)):
        for group, outcome in page:
            if outcome.failure:
                found.failed += 1
                found.show(found.failures, group.key)
            for key_id, output in outcome.outputs.items():
                found.buckets.add(key_id, output)
        yield


def _target(table: Table, found: Part, number: int, total: int) -> Iterator[None]:
    key_id = table.target.key_id
    for items in scan(table, "target", number, total):
        for item in items:
            found.buckets.add(key_id(item), item)
        yield


def side_total(rows: list[Row], side: Side) -> int:
    """Items counted on one side."""
    return sum(int(row["total"]) for row in rows if row["part"].startswith(side))
