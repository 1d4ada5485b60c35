"""Lists of keys that a change touched, kept in rows: suspects, and what a fence must compare."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fearless.data.calls import Caller
from fearless.data.context import Table
from fearless.data.identity import unit_id
from fearless.data.state import Row
from fearless.data.tables import Typed

DIRTY = "DIRTY#"
SUSPECTS = "SUS#"
MOST = 300 * 1024
"""Bytes of a list in one row; an item of DynamoDB holds 400 KB."""


@dataclass(frozen=True)
class Touched:
    """A source item's key, and every target key that an output of it may lie at."""

    source: Typed
    targets: Sequence[Typed]


@dataclass(frozen=True)
class Listed:
    """One row of touched keys; `due` is the server's time from which it may be acted on."""

    sk: str
    due: int
    touched: Sequence[Touched]


def keep(
    table: Table,
    caller: Caller,
    prefix: str,
    touched: Sequence[Touched],
    due: float = 0,
    claim: int = 1,
) -> list[str]:
    """Write a list, in as many rows as it needs; where they lie."""
    if not touched:
        return []
    blob = zlib.compress(_dump(touched), 1)
    if len(blob) > MOST and len(touched) > 1:
        middle = len(touched) // 2
        parts = (touched[:middle], touched[middle:])
        return [sk for part in parts for sk in keep(table, caller, prefix, part, due, claim)]
    sk = f"T#{table.name}#{prefix}{table.machinery.random().getrandbits(128):032x}"
    row: Row = {"keys": blob, "count": len(touched), "due": int(due)}
    table.state.put(caller, table.generation, claim, sk, row)
    return [sk]


def listed(table: Table, prefix: str) -> list[Listed]:
    """Every list whose row begins with `prefix`."""
    return [_load(row) for row in table.rows(prefix)]


def drop(table: Table, lists: Iterable[str]) -> None:
    """Remove rows that have been dealt with."""
    for sk in lists:
        table.state.delete(table.reader, table.generation, sk)


def merged(table: Table, lists: Iterable[Listed]) -> list[Touched]:
    """One entry for each source key, with all its target keys."""
    sources: dict[bytes, Typed] = {}
    targets: dict[bytes, dict[bytes, Typed]] = {}
    for entry in (entry for found in lists for entry in found.touched):
        source_id = unit_id(table, entry.source)
        sources[source_id] = entry.source
        keys = targets.setdefault(source_id, {})
        keys.update((table.target.key_id(key), key) for key in entry.targets)
    return [Touched(sources[key], list(targets[key].values())) for key in sources]


def _dump(touched: Sequence[Touched]) -> bytes:
    plain = [[entry.source, list(entry.targets)] for entry in touched]
    return json.dumps(plain, separators=(",", ":"), default=_text).encode()


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    raise TypeError(f"a key holds no {type(value).__name__}")


def _load(row: Row) -> Listed:
    plain = json.loads(zlib.decompress(row["keys"]))
    touched = [Touched(source, targets) for source, targets in plain]
    return Listed(row["sk"], int(row["due"]), touched)
