"""Compare the target with T(source) by digests, and name every item that differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from fearless.data.canonical import digest, item_bytes
from fearless.data.changes import Kind
from fearless.data.context import Table
from fearless.data.digests import Buckets
from fearless.data.reconcile import read_source, read_target
from fearless.data.tables import Typed, show
from fearless.data.work import Runner


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
    """What a comparison of one table saw."""

    compared: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    candidates: dict[bytes, tuple[Typed, Typed | None]] = field(default_factory=dict)
    failed: dict[bytes, Typed] = field(default_factory=dict)


def scan(table: Table, side: Literal["source", "target"], segment: int) -> Iterator[list[Typed]]:
    """The pages of one segment of one side."""
    client = table.source_client if side == "source" else table.target_client
    info = table.source if side == "source" else table.target
    request: dict[str, Any] = {
        "TableName": info.table,
        "ConsistentRead": True,
        "Segment": segment,
        "TotalSegments": table.settings.segments,
    }
    if table.settings.page:
        request["Limit"] = table.settings.page
    while True:
        table.guard()
        page = table.reader.read(client.scan, **request)
        yield page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


class Comparison:
    """One comparison of one table: digests first, then only the buckets that differ."""

    def __init__(self, table: Table, progress: Callable[[int], None]) -> None:
        self.table = table
        self.found = Found()
        self._progress = progress

    def run(self, runner: Runner) -> Found:
        """Scan both sides; the candidates are keys to look at again, one by one."""
        segments = range(self.table.settings.segments)
        tasks = [partial(self._source, n) for n in segments]
        tasks += [partial(self._target, n) for n in segments]
        parts = runner(tasks, self.table.halt)
        half = len(segments)
        source = Buckets(self.table.settings.buckets).merge(parts[:half])
        target = Buckets(self.table.settings.buckets).merge(parts[half:])
        self.found.compared = target.total
        unequal = source.unequal(target)
        if unequal:
            self._candidates(runner, unequal)
        return self.found

    def outputs(self, segment: int) -> Iterator[tuple[bytes, Typed, Typed]]:
        """Every `(target key id, output, source item)` of a segment; failures are noted."""
        table = self.table
        for items in scan(table, "source", segment):
            for item in items:
                if table.source.sentinel(item):
                    continue
                outcome = table.migrate(item)
                if outcome.failure:
                    self.found.failed[table.source.key_id(item)] = table.source.key(item)
                for key_id, output in outcome.outputs.items():
                    yield key_id, output, item
            self._progress(len(items))

    def _source(self, segment: int) -> Buckets:
        buckets = Buckets(self.table.settings.buckets)
        for key_id, output, _ in self.outputs(segment):
            buckets.add(key_id, output)
        return buckets

    def _target(self, segment: int) -> Buckets:
        buckets = Buckets(self.table.settings.buckets)
        info = self.table.target
        for items in scan(self.table, "target", segment):
            for item in items:
                buckets.add(info.key_id(item), item)
            self._progress(len(items))
        return buckets

    def _candidates(self, runner: Runner, unequal: frozenset[int]) -> None:
        info, size = self.table.target, Buckets(self.table.settings.buckets)

        def wanted(segment: int) -> dict[bytes, tuple[int, Typed, Typed]]:
            return {
                key_id: (digest(output), info.key(output), self.table.source.key(item))
                for key_id, output, item in self.outputs(segment)
                if size.bucket(key_id) in unequal
            }

        def present(segment: int) -> dict[bytes, tuple[int, Typed]]:
            return {
                key_id: (digest(item), info.key(item))
                for items in scan(self.table, "target", segment)
                for item in items
                if size.bucket(key_id := info.key_id(item)) in unequal
            }

        segments = range(self.table.settings.segments)
        tasks: list[Callable[[], Any]] = [partial(wanted, n) for n in segments]
        tasks += [partial(present, n) for n in segments]
        parts = runner(tasks, self.table.halt)
        want = {k: v for part in parts[: len(segments)] for k, v in part.items()}
        have = {k: v for part in parts[len(segments) :] for k, v in part.items()}
        for key_id in want.keys() | have.keys():
            if key_id not in want:
                self._extra(key_id, have[key_id][1])
            elif key_id not in have or have[key_id][0] != want[key_id][0]:
                self.found.candidates[key_id] = (want[key_id][1], want[key_id][2])

    def _extra(self, key_id: bytes, key: Typed) -> None:
        if self.table.target.test(key):
            self.found.ignored["test items"] += 1
        elif self.table.target.sentinel(key):
            self.found.ignored["sentinels"] += 1
        else:
            self.found.candidates[key_id] = (key, self.table.migrate.owner(key))


@dataclass
class Look:
    """One key looked at: what the source was, and whether the target was right."""

    kind: Kind | None
    state: bytes | None
    still: bool


def look(table: Table, key: Typed, source: Typed | None) -> Look:
    """Read source, target, source again; the kind is None when the target is as it should be."""
    before = read_source(table, source) if source else None
    outcome = table.migrate(before)
    have = read_target(table, key)
    still = source is None or read_source(table, source) == before
    want = outcome.outputs.get(table.target.key_id(key))
    state = item_bytes(before) if before is not None else None
    if outcome.failure:
        return Look("quarantined", state, still)
    if want is None:
        return Look(None if have is None else "extra", state, still)
    if have is None:
        return Look("missing", state, still)
    equal = item_bytes(have) == item_bytes(want)
    return Look(None if equal else "different", state, still)


def settle(
    table: Table, found: Found, catch_up: Callable[[], None], limit: int = 1000
) -> list[Mismatch]:
    """Look at every candidate until it is right, or wrong while its source stands still.

    A mismatch is real when the source item did not change over a whole catching up, several
    times. A key that keeps changing is reported too: silence would not be proof.
    """
    left = list(found.candidates.values())
    over = left[limit:]
    seen: list[tuple[bytes | None, int]] = [(b"never", 0)] * len(left[:limit])
    open_keys = list(zip(left[:limit], seen, strict=True))
    real: list[Mismatch] = []
    for _ in range(table.settings.rounds * 6):
        if not open_keys:
            break
        catch_up()
        again = []
        for (key, source), (state, strikes) in open_keys:
            now = look(table, key, source)
            if now.kind is None:
                continue
            strikes = strikes + 1 if now.still and now.state == state else 0
            if strikes >= table.settings.rounds - 1:
                real.append(Mismatch(table.name, now.kind, key, source))
            else:
                again.append(((key, source), (now.state, strikes)))
        open_keys = again
    real += [
        Mismatch(table.name, "moving", key, source, "kept changing while it was compared")
        for (key, source), _ in open_keys
    ]
    real += [Mismatch(table.name, "different", k, s, "not looked at again") for k, s in over]
    return real
