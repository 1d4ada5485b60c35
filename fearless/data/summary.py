"""What a run's rows say of it: a new META, and the state that people and steps are told."""

from __future__ import annotations

from collections.abc import Sequence

from fearless.data.copy import COUNTS
from fearless.data.state import Row
from fearless.interfaces import DataState

COPY_AGAIN = "copying again starts over from a new position into the same tables"
NO_WAY_BACK = "what was written since cannot be carried back any more"
"""What a broken run leads to, on the way there and on the way back."""


def new_meta(phase: str, generation: int, tables: dict[str, Row], digests: dict[str, str]) -> Row:
    """META of a run that begins: `tables` are positions, `digests` those of the transforms."""
    return {
        "phase": phase,
        "reason": "",
        "generation": generation,
        "tables": tables,
        "digests": digests,
        "repair": False,
        "caught_up": 0,
        "sentinels": {},
        "marks": "",
        "watch": 0,
        "verifying": {},
        "verified": {},
        "one_way": "",
        "irreversible": 0,
    }


def summary(meta: Row, rows: Sequence[Row], reason: str, now: float) -> DataState:
    """The state of a run: its META, the rows of its tables, why it cannot go on ("" when it can).

    `now` is the server's clock, in Unix seconds.
    """
    parts = [row for row in rows if "#SEG#" in row["sk"]]
    suspects = [row for row in rows if "#SUS#" in row["sk"]]
    sums = {name: sum(int(row[name]) for row in parts) for name in COUNTS}
    return DataState(
        phase="broken" if reason else "replay" if meta["phase"] == "turned" else meta["phase"],
        read=sums["read"],
        written=sums["written"],
        dropped=sums["dropped"],
        quarantined=sum(1 for row in rows if in_quarantine(row) and not row["waived"]),
        changed=sums["changed"],
        applied=sum(int(row["applied"]) for row in rows if "#SHARD#" in row["sk"]),
        lag=max(0.0, now - meta["caught_up"]) if meta["caught_up"] else None,
        reason=reason,
        suspects=sum(int(row["count"]) for row in suspects),
        suspects_due=max((float(row["due"]) for row in suspects), default=0.0),
        one_way=meta["one_way"] or _not_all(int(meta["irreversible"])),
    )


def in_quarantine(row: Row) -> bool:
    """Whether the row is of an item that could not be migrated, waived or not."""
    return "#Q#" in row["sk"] and bool(row["open"])


def _not_all(items: int) -> str:
    if not items:
        return ""
    return f"{items} items would not be what they were after going there and back"
