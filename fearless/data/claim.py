"""A part of a table that one worker alone may work on: its row, and the right to change it."""

from __future__ import annotations

from collections.abc import Callable

from fearless.data.context import Table
from fearless.data.membership import Membership
from fearless.data.state import Row


class Claim:
    """A claimed row. Every change of it fails once another worker has claimed it."""

    def __init__(self, table: Table, sk: str, row: Row) -> None:
        self._table = table
        self._sk = sk
        self._number = int(row["v"]) >> 40
        self.row = row
        self.unknown_at = 0.0

    @classmethod
    def take(
        cls,
        table: Table,
        sk: str,
        new: Row,
        member: Membership,
        after_silence: Row | None = None,
        **mine: object,
    ) -> Claim | None:
        """Claim the row (`new` when there is none yet); None when it is done, or another's.

        `after_silence` changes it when its owner before ended without saying so. A row that is
        ours already is one that a pause or the network kept us from letting go: what nobody in
        this process works on must be claimed again.
        """
        row = table.state.row(table.reader, table.generation, f"T#{table.name}#{sk}")
        seen = None if row is None else int(row["v"])
        row = row or new
        if row["done"]:
            return None
        silent, ours = bool(row["owner"]), row["owner"] == member.id
        if silent and not ours and not member.gone(row["owner"]):
            return None
        if silent:
            mine["unknown_at"] = int(table.wall()) + 1
        claimed = table.state.replace(
            table.reader,
            table.generation,
            f"T#{table.name}#{sk}",
            {**row, **mine, **((after_silence or {}) if silent else {}), "owner": member.id},
            seen,
        )
        return None if claimed is None else cls(table, f"T#{table.name}#{sk}", claimed)

    def unknown(self) -> None:
        """Remember that a write of ours may land as late as `zombie` seconds from now."""
        self.unknown_at = self._table.wall()

    def put(self, **changes: object) -> None:
        """Change the row. Raises Outdated when it is another's by now."""
        if self.unknown_at:
            changes["unknown_at"] = int(self.unknown_at) + 1
        table, row = self._table, {**self.row, **changes}
        table.state.put(table.reader, table.generation, self._number, self._sk, row)
        self.row = row

    def release(self) -> None:
        """Let another worker go on, unless it was let go already."""
        if self.row["owner"]:
            self.put(owner="")


def settled_at(rows: list[Row], zombie: float) -> float:
    """The server's time after which no unanswered write that these rows tell of can land."""
    ends = [int(row.get("unknown_at") or 0) for row in rows]
    return max((end + zombie + 1 for end in ends if end), default=0.0)


Stopping = Callable[[], bool]
"""Whether the worker was asked to finish what it has begun, and no more."""
