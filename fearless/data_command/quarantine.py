"""`fearless data quarantine`: the items that could not be migrated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fearless.data.canonical import item_bytes
from fearless.data.state import Row
from fearless.data_command.call import Call
from fearless.data_command.keys import parse, written
from fearless.errors import ConfigError, FearlessError, Refused


def listing(call: Call) -> int:
    rows = call.run.migration(code=False).quarantine() if call.run.begun else []
    call.out.result({"items": [_entry(row) for row in rows]}, _lines(rows))
    return 0


def retry(call: Call) -> int:
    call.run.check_begun()
    old, _ = call.run.infos
    wanted = parse(call.args.key, old) if call.args.key else None
    migration = call.run.migration()
    before = migration.quarantine()
    asked = [row for row in before if wanted is None or _same(row["key"], wanted)]
    if wanted is not None and not asked:
        raise _absent(call)
    left = migration.retry(lambda row: wanted is None or _same(row["key"], wanted))
    done = len(before) - len(left)
    call.out.result(
        {"tried": len(asked), "migrated": done, "items": [_entry(row) for row in left]},
        [f"tried {len(asked):,} again: {done:,} migrated", *_lines(left)],
    )
    return 0 if done >= len(asked) else 1


def waive(call: Call) -> int:
    call.run.check_begun()
    old, _ = call.run.infos
    key = parse(call.args.key, old)
    if not call.args.reason.strip():
        raise ConfigError("--reason must say something: whoever rolls out will read it")
    if not call.run.migration().waive(call.run.name, key, call.args.reason):
        raise _absent(call)
    call.out.result(
        {"key": key, "reason": call.args.reason},
        [f"waived {written(key)}: the target goes without it ({call.args.reason})"],
    )
    return 0


def _absent(call: Call) -> FearlessError:
    how = call.command("quarantine list")
    return Refused(f"{call.args.key} is not in quarantine: see `{how}`")


def _entry(row: Row) -> dict[str, Any]:
    names = ("transform", "error", "message", "where", "attempts", "waived")
    seen = "copy" if row["seq"] == "copy" else "change"
    return {"key": json.loads(written(row["key"])), "seen_in": seen, **{n: row[n] for n in names}}


def _lines(rows: Iterable[Row]) -> list[str]:
    lines = []
    for row in rows:
        where = f" ({row['where']})" if row["where"] else ""
        waived = f"  waived: {row['waived']}" if row["waived"] else ""
        lines.append(
            f"{written(row['key'])}  {row['transform']}: {row['error']}: {row['message']}{where}"
            f"{waived}"
        )
    return lines or ["the quarantine is empty"]


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _identity(one) == _identity(other)


def _identity(key: Mapping[str, Any]) -> bytes:
    """Something equal for equal keys, however their values are written."""
    return item_bytes(dict(key))
