"""Copy a table: consistent scans in segments, each page migrated, written and checkpointed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fearless.data.context import Table, TooManyFailures
from fearless.data.state import Row
from fearless.data.tables import Typed, show
from fearless.data.transform import Failure, Outcome, redact
from fearless.data.writer import Op

COUNTS = ("read", "kept", "written", "dropped", "quarantined", "changed", "sentinels", "pages")


def segments(table: Table, total: int) -> list[Row]:
    """The rows of every segment, new ones for those never started."""
    found = {int(row["segment"]): row for row in table.rows("SEG#")}
    return [
        found.get(n) or {"segment": n, "total": total, "status": "todo", **dict.fromkeys(COUNTS, 0)}
        for n in range(total)
    ]


class Copier:
    """Copies the segments of one table; any of them may be done again without harm."""

    def __init__(self, table: Table, progress: Callable[[int], None]) -> None:
        self._table = table
        self._writer = table.writer(table.copying)
        self._progress = progress

    def segment(self, row: Row) -> None:
        """Copy what is left of a segment."""
        while row["status"] != "done":
            self._table.guard()
            row = self._page(row)

    def _page(self, row: Row) -> Row:
        table = self._table
        request: dict[str, Any] = {
            "TableName": table.source.table,
            "ConsistentRead": True,
            "Segment": int(row["segment"]),
            "TotalSegments": int(row["total"]),
        }
        if table.settings.page:
            request["Limit"] = table.settings.page
        if row.get("from"):
            request["ExclusiveStartKey"] = row["from"]
        page = table.reader.read(table.source_client.scan, **request)
        counts = self.items(page["Items"])
        row = {**row, **{name: int(row[name]) + counts[name] for name in COUNTS}}
        row["from"] = page.get("LastEvaluatedKey")
        row["status"] = "todo" if row["from"] else "done"
        table.put_row(f"SEG#{int(row['segment']):06d}", row)
        return row

    def items(self, items: list[Typed]) -> dict[str, int]:
        """Migrate and write one page; nothing of it is left unwritten or unaccounted for."""
        table, counts = self._table, dict.fromkeys(COUNTS, 0)
        counts["pages"] = 1
        ops: dict[bytes, Op] = {}
        good: dict[bytes, Typed] = {}
        outputs: dict[bytes, int] = {}
        for index, item in enumerate(items):
            if table.source.sentinel(item):
                counts["sentinels"] += 1
                continue
            counts["read"] += 1
            key_id = table.source.key_id(item)
            outcome = table.migrate(item)
            if index % table.settings.purity == 0:
                table.migrate.check_pure(item, outcome)
            if outcome.failure:
                self._fail(item, outcome.failure)
                counts["quarantined"] += 1
                continue
            good[key_id], outputs[key_id] = item, len(outcome.outputs)
            counts["kept" if outcome.outputs else "dropped"] += 1
            counts["written"] += len(outcome.outputs)
            counts["changed"] += _changed(item, outcome)
            for target_id, output in outcome.outputs.items():
                _claim(ops, Op(target_id, table.target.key(output), output, key_id))
        refused = {r.op.source: r.message for r in self._writer.write(ops.values())}
        for key_id, message in refused.items():
            held = [op.key for op in ops.values() if op.source == key_id]
            self._fail(good[key_id], refusal(message, good[key_id]), held)
            counts["quarantined"] += 1
            counts["kept"] -= 1
            counts["written"] -= outputs[key_id]
        for key_id in good.keys() - refused.keys():
            table.quarantine.resolve(key_id)
        self._progress(counts["read"])
        return counts

    def _fail(self, item: Typed, failure: Failure, held: list[Typed] | None = None) -> None:
        table = self._table
        key = table.source.key(item)
        table.quarantine.add(table.source, key, failure, "copy", held or ())
        if len(table.quarantine) > table.settings.max_quarantine:
            raise TooManyFailures(
                f"table {table.name}: more than {table.settings.max_quarantine} items cannot be "
                f"migrated; the last is {show(key)}: {failure}. Repair the transform, or raise "
                "max_quarantine, and copy again"
            )


def refusal(message: str, item: Typed) -> Failure:
    """The failure of an item that the target table itself would not take."""
    return Failure("copy", "invalid:refused by the table", redact(message, item))


def _claim(ops: dict[bytes, Op], op: Op) -> None:
    if op.key_id in ops:
        raise RuntimeError("two source items own one target item; the contract check is broken")
    ops[op.key_id] = op


def _changed(item: Typed, outcome: Outcome) -> bool:
    return len(outcome.outputs) > 1 or any(out != item for out in outcome.outputs.values())
