"""Make the target hold exactly T(source) for one source key, whatever it holds now."""

from __future__ import annotations

from collections.abc import Iterable

from fearless.data.context import Table
from fearless.data.copy import refusal
from fearless.data.tables import Typed, show
from fearless.data.writer import Op
from fearless.errors import FearlessError

ATTEMPTS = 50


def read_source(table: Table, key: Typed) -> Typed | None:
    """The source item now, by a consistent read."""
    answer = table.reader.read(
        table.source_client.get_item, TableName=table.source.table, Key=key, ConsistentRead=True
    )
    item: Typed | None = answer.get("Item")
    return item


def read_target(table: Table, key: Typed) -> Typed | None:
    """The target item now, by a consistent read."""
    answer = table.reader.read(
        table.target_client.get_item, TableName=table.target.table, Key=key, ConsistentRead=True
    )
    item: Typed | None = answer.get("Item")
    return item


def reconcile(table: Table, key: Typed, stale: Iterable[Typed] = ()) -> None:
    """Write T(source) and delete what else the item left, until the source stood still meanwhile.

    Safe beside the replay: a later change has a record that is applied after this. `stale` are
    target keys found that the source item may own.
    """
    source_id = table.source.key_id(key)
    gone = {table.target.key_id(k): k for k in (*stale, *table.quarantine.held(source_id))}
    for _ in range(ATTEMPTS):
        before = read_source(table, key)
        outcome = table.migrate(before)
        if outcome.failure:
            table.quarantine.add(table.source, key, outcome.failure, "repair", gone.values())
            return
        ops = [
            Op(key_id, k, None, source_id)
            for key_id, k in gone.items()
            if key_id not in outcome.outputs
        ]
        for key_id, output in outcome.outputs.items():
            gone[key_id] = table.target.key(output)
            ops.append(Op(key_id, gone[key_id], output, source_id))
        refused = table.writer(table.applying).write(ops)
        if refused:
            failure = refusal(refused[0].message, before or key)
            table.quarantine.add(table.source, key, failure, "repair", gone.values())
            return
        if read_source(table, key) == before:
            table.quarantine.resolve(source_id)
            return
    raise FearlessError(
        f"table {table.name}: {show(key)} changed during each of {ATTEMPTS} attempts to repair it; "
        "try again when it is quieter"
    )
