"""Copy a segment: consistent scans, each page migrated, written and checkpointed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from fearless.data.claim import Claim, Stopping
from fearless.data.context import Table, TooManyFailures
from fearless.data.doubts import writer_of
from fearless.data.merge import Merger
from fearless.data.scan import page_of, request_of
from fearless.data.state import Row
from fearless.data.tables import Typed, show
from fearless.data.transfer import Collision
from fearless.data.transform import Failure, Outcome, redact
from fearless.data.writer import Op, Rejected

COUNTS = (
    "read", "kept", "written", "dropped", "quarantined", "changed", "sentinels", "pages", "bytes",
)  # fmt: skip


def new_segment(number: int, total: int) -> Row:
    """The row of a segment that nobody has begun."""
    return {
        "segment": number,
        "total": total,
        "done": False,
        "owner": "",
        "unknown_at": 0,
        **dict.fromkeys(COUNTS, 0),
    }


def segment_sk(number: int) -> str:
    """Where the row of a segment lies."""
    return f"SEG#{number:06d}"


def copy_segment(
    table: Table, claim: Claim, stopping: Stopping, merger: Merger | None = None
) -> bool:
    """Copy what is left of a segment, or until asked to stop. True when it is done.

    Any page may be done again without harm, until the barrier. `merger`: for a collection.
    """
    writer = writer_of(table, table.caller(claim.unknown), copying=True)
    copier = Copier(table, writer, merger)
    while not claim.row["done"]:
        if stopping():
            return False
        table.guard()
        row = claim.row
        request = request_of(table, table.source.table, int(row["segment"]), int(row["total"]))
        if row.get("from"):
            request["ExclusiveStartKey"] = row["from"]
        page = page_of(table, table.clients.source, request)
        counts = copier.copy(page)
        headers = page.rest.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        counts["bytes"] = int(headers.get("content-length") or 0)
        last = page.rest.get("LastEvaluatedKey")
        sums = {name: int(row[name]) + counts[name] for name in COUNTS}
        if last:
            claim.put(**sums, **{"from": last})
        else:
            claim.put(**sums, **{"from": None}, done=True, owner="")
    return True


class Copier:
    """Copies pages; nothing of one is left unwritten or unaccounted for."""

    def __init__(self, table: Table, writer: Any, merger: Merger | None) -> None:
        self._table = table
        self._writer = writer
        self._counts = dict.fromkeys(COUNTS, 0)
        self._merger = merger

    def copy(self, page: Iterable[list[Typed]]) -> dict[str, int]:
        """Migrate and write a page; the counts, of source items except for `written`."""
        self._counts = dict.fromkeys(COUNTS, 0)
        self._counts["pages"] = 1
        if self._merger is not None:
            page = [list(chain.from_iterable(page))]
        for items in page:
            self._piece(items)
        return self._counts

    def _piece(self, items: list[Typed]) -> None:
        counts = self._counts
        kept = self._table.source.real(items)
        counts["sentinels"] += len(items) - len(kept)
        counts["read"] += len(kept)
        if self._merger is not None:
            counts |= self._merger.copy(kept, self._writer.write)
            self._check_failures("its transform")
            return
        for item in kept[:: self._table.settings.purity]:
            self._table.migrate.check_pure(item, self._table.migrate(item))
        if self._table.migrate.kind == "keep-key":
            self._keep(kept)
        else:
            self._general(kept)

    def _keep(self, items: list[Typed]) -> None:
        """The quick way for items that keep their keys: no key can clash with another."""
        table, counts = self._table, self._counts
        page = table.migrate.page(items)
        for item, failure in page.failures:
            self._fail(item, failure)
        refused = self._writer.put(page.puts)
        for item, message in refused:
            self._fail(item, refusal(message, item), [table.target.key(item)])
        counts["kept"] += len(page.puts) - len(refused)
        counts["written"] += len(page.puts) - len(refused)
        counts["dropped"] += page.dropped
        counts["changed"] += page.changed
        if table.quarantine:
            bad = [item for item, _ in (*page.failures, *refused)]
            failed = {table.source.key_id(item) for item in bad}
            for key_id in {table.source.key_id(item) for item in items} - failed:
                table.quarantine.resolve(key_id)

    def _general(self, items: list[Typed]) -> None:
        table, counts = self._table, self._counts
        ops: Ops = {}
        good: dict[bytes, Typed] = {}
        outputs: dict[bytes, int] = {}
        for item in items:
            key_id = table.source.key_id(item)
            outcome = table.migrate(item)
            if outcome.failure:
                self._fail(item, outcome.failure)
                continue
            good[key_id], outputs[key_id] = item, len(outcome.outputs)
            counts["kept" if outcome.outputs else "dropped"] += 1
            counts["written"] += len(outcome.outputs)
            counts["changed"] += _changed(item, outcome)
            for target_id, output in outcome.outputs.items():
                claim_key(table, ops, Op(target_id, table.target.key(output), output, key_id))
        refused = {r.op.source: r for r in self._writer.write(ops.values())}
        for key_id, rejected in refused.items():
            held = [op.key for op in ops.values() if op.source == key_id]
            self._fail(good[key_id], rejection(rejected, good[key_id]), held)
            counts["kept"] -= 1
            counts["written"] -= outputs[key_id]
        if table.quarantine:
            for key_id in good.keys() - refused.keys():
                table.quarantine.resolve(key_id)

    def _fail(self, item: Typed, failure: Failure, held: list[Typed] | None = None) -> None:
        table = self._table
        self._counts["quarantined"] += 1
        key = table.source.key(item)
        table.quarantine.add(table.source, key, failure, "copy", held or ())
        self._check_failures(f"{show(key)}: {failure}")

    def _check_failures(self, last: str) -> None:
        table = self._table
        if len(table.quarantine) > table.settings.max_quarantine:
            raise TooManyFailures(
                f"table {table.name}: more than {table.settings.max_quarantine} items cannot be "
                f"migrated; the last is {last}. Repair the transform, or raise max_quarantine, "
                "and copy again"
            )


def refusal(message: str, item: Typed) -> Failure:
    """The failure of an item that the target table itself would not take."""
    return Failure("copy", "invalid:refused by the table", redact(message, item))


def rejection(rejected: Rejected, item: Typed) -> Failure:
    """The failure of an item whose output was refused: by the table, or for another item's sake."""
    if isinstance(rejected, Collision):
        return Failure("transfer", "Collision", rejected.message)
    return refusal(rejected.message, item)


Ops = dict[tuple[bytes, bytes], Op]


def claim_key(table: Table, ops: Ops, op: Op) -> None:
    """Note an operation. Only where keys are transferable may two source items want one key."""
    shared = table.migrate.kind == "transferable"
    place = (op.key_id, op.source if shared else b"")
    other = ops.setdefault(place, op)
    if other.source != op.source:
        raise RuntimeError("two source items own one target item; the contract check is broken")
    ops[place] = op


def _changed(item: Typed, outcome: Outcome) -> bool:
    return len(outcome.outputs) > 1 or any(out != item for out in outcome.outputs.values())
