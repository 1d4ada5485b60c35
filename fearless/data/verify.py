"""Compare the target with T(source): digests first, then only what is in unequal buckets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from fearless.data.canonical import digest, item_bytes
from fearless.data.context import Table
from fearless.data.digest import outputs
from fearless.data.digests import Buckets
from fearless.data.fetch import fetch
from fearless.data.gather import written_for
from fearless.data.identity import unit_id
from fearless.data.level import Level, levels, owner_id
from fearless.data.scan import scan
from fearless.data.state import Row
from fearless.data.tables import Typed, show
from fearless.data.touched import Touched
from fearless.data.work import Runner
from fearless.interfaces import Verdict

Kind = Literal["missing", "extra", "different", "quarantined", "moving"]
"""In what way a target item is not as T(source) has it."""

LIMIT = 1000
"""Units that are looked at one by one; with more, the tables are simply not equal."""


@dataclass(frozen=True)
class Mismatch:
    """A target key that is not as T(source) has it. `source` is None when nothing owns the key."""

    table: str
    kind: Kind
    key: Typed
    source: Typed | None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.table}: {show(self.key)}{f' ({self.note})' if self.note else ''}"


@dataclass
class Found:
    """What a comparison of one table saw. `strays` are target keys that nothing owns."""

    compared: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    candidates: dict[bytes, Touched] = field(default_factory=dict)
    strays: list[Typed] = field(default_factory=list)
    one_way: int = 0

    def add(self, table: Table, source: Typed, key: Typed) -> None:
        """A unit to look at, and a target key of its."""
        key_id = unit_id(table, source)
        before = self.candidates.get(key_id)
        keys = [*before.targets, key] if before else [key]
        self.candidates[key_id] = Touched(source, keys)


def compare(table: Table, rows: Sequence[Row], total: int, runner: Runner, halt: Any) -> Found:
    """From the digests of every part: what is unequal, looked up by scanning once more."""
    sides: dict[str, Buckets] = {}
    for row in rows:
        side, buckets = row["part"].partition("/")[0], Buckets.unpack(row["blob"])
        sides[side] = sides[side].merge([buckets]) if side in sides else buckets
    found = Found(compared=sides["target"].total)
    found.one_way = sum(int(row["irreversible"]) for row in rows)
    for row in rows:
        for key in row["failures"]:
            found.candidates[unit_id(table, key)] = Touched(key, [])
    unequal = sides["source"].unequal(sides["target"])
    if unequal:
        _candidates(table, found, unequal, sides["target"], total, runner, halt)
    return found


def _candidates(
    table: Table,
    found: Found,
    unequal: frozenset[int],
    buckets: Buckets,
    total: int,
    runner: Runner,
    halt: Any,
) -> None:
    info = table.target

    def wanted(segment: int) -> dict[bytes, tuple[int, Typed, Typed]]:
        return {
            key_id: (digest(output), info.key(output), unit)
            for key_id, output, unit in outputs(table, segment, total)
            if buckets.bucket(key_id) in unequal
        }

    def present(segment: int) -> dict[bytes, tuple[int, Typed]]:
        return {
            key_id: (digest(item), item)
            for items in scan(table, "target", segment, total)
            for item in items
            if buckets.bucket(key_id := info.key_id(item)) in unequal
        }

    segments = range(total)
    tasks: list[Callable[[], Any]] = [partial(wanted, n) for n in segments]
    tasks += [partial(present, n) for n in segments]
    parts = runner(tasks, halt)
    want = {k: v for part in parts[:total] for k, v in part.items()}
    have = {k: v for part in parts[total:] for k, v in part.items()}
    for key_id, (value, key, source) in want.items():
        if key_id not in have or have[key_id][0] != value:
            found.add(table, source, key)
    extra = have.keys() - want.keys()
    written = written_for(table) if extra and table.migrate.kind == "collection" else {}
    for key_id in extra:
        _extra(table, found, have[key_id][1], written.get(key_id))


def _extra(table: Table, found: Found, item: Typed, group: Typed | None) -> None:
    key = table.target.key(item)
    if table.target.test(key):
        found.ignored["test items"] += 1
    elif table.target.sentinel(item):
        found.ignored["sentinels"] += 1
    elif (source := group or table.migrate.owner(item)) is None:
        found.strays.append(key)
    else:
        found.add(table, source, key)


def differing(table: Table, wanted: Iterable[Touched]) -> dict[bytes, tuple[Level, list[Mismatch]]]:
    """The level of each unit, and in what way the target is not as it says, if in any."""
    entries = {unit_id(table, entry.source): entry for entry in wanted}
    found = levels(table, [entry.source for entry in entries.values()])
    keys: dict[bytes, dict[bytes, Typed]] = {}
    for key_id, entry in entries.items():
        mine = {table.target.key_id(key): key for key in entry.targets}
        for target_id, output in found[key_id].outcome.outputs.items():
            mine[target_id] = table.target.key(output)
        keys[key_id] = mine
    everything = [key for mine in keys.values() for key in mine.values()]
    there = fetch(table.reader, table.clients.target, table.target, everything)
    return {
        key_id: (level, list(_mismatches(table, entries[key_id], level, keys[key_id], there)))
        for key_id, level in found.items()
    }


def _mismatches(
    table: Table,
    entry: Touched,
    level: Level,
    keys: Mapping[bytes, Typed],
    there: Mapping[bytes, Typed],
) -> Iterable[Mismatch]:
    if level.outcome.failure:
        failure = level.outcome.failure
        why = f"quarantined, {failure.transform}: {failure.error}"
        yield Mismatch(table.name, "quarantined", entry.source, entry.source, why)
        return
    for target_id, key in keys.items():
        want, have = level.outcome.outputs.get(target_id), there.get(target_id)
        kind: Kind | None = None
        if want is None and have is not None and not table.target.test(key):
            kind = None if _passed_on(table, entry.source, have) else "extra"
        elif want is not None and have is None:
            kind = "missing"
        elif want is not None and have is not None and item_bytes(want) != item_bytes(have):
            kind = "different"
        if kind is not None:
            yield Mismatch(table.name, kind, key, entry.source)


def _passed_on(table: Table, source: Typed, item: Typed) -> bool:
    """Whether a key that can pass from one source item to another is another's now."""
    if table.migrate.kind != "transferable":
        return False
    return owner_id(table, item) not in (None, unit_id(table, source))


def settle(
    table: Table, found: Iterable[Touched], again: Callable[[], None], rounds: int
) -> list[Mismatch]:
    """Look at every unit until it is right, or wrong while its source stands still.

    A mismatch is real when the source did not change over a whole catching up, several times.
    A unit that keeps changing is reported too: silence would not be proof.
    """
    wanted = list(found)
    over = [
        Mismatch(table.name, "different", entry.source, entry.source, "not looked at again")
        for entry in wanted[LIMIT:]
    ]
    left = {unit_id(table, entry.source): entry for entry in wanted[:LIMIT]}
    states: dict[bytes, tuple[bytes, int]] = {}
    real: list[Mismatch] = []
    for _ in range(rounds * 6):
        if not left:
            break
        again()
        for key_id, (level, wrong) in differing(table, left.values()).items():
            state, strikes = states.get(key_id, (None, 0))
            strikes = strikes + 1 if state == level.state else 0
            states[key_id] = (level.state, strikes)
            if not wrong:
                del left[key_id]
            elif strikes >= rounds - 1:
                real += wrong
                del left[key_id]
    moving = "kept changing while it was compared"
    real += [Mismatch(table.name, "moving", e.source, e.source, moving) for e in left.values()]
    return real + over


def verdict(found: Sequence[Found], mismatches: Sequence[Mismatch]) -> Verdict:
    """What several tables' comparisons come to."""
    ignored: dict[str, int] = {}
    for part in found:
        for name, count in part.ignored.items():
            ignored[name] = ignored.get(name, 0) + count
    return Verdict(
        compared=sum(part.compared for part in found),
        missing=tuple(str(m) for m in mismatches if m.kind in ("missing", "quarantined")),
        extra=tuple(str(m) for m in mismatches if m.kind == "extra"),
        different=tuple(str(m) for m in mismatches if m.kind in ("different", "moving")),
        ignored=ignored,
    )
