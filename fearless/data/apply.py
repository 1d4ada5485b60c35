"""Apply one window of a shard's records as differences: the heart of the replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fearless.data.context import Table
from fearless.data.copy import refusal
from fearless.data.position import Gap
from fearless.data.tables import SENTINEL_MARK, Typed
from fearless.data.transform import NOTHING, Outcome
from fearless.data.writer import Op


@dataclass
class Lane:
    """The states one source item went through in a window, the one before it first."""

    key: Typed
    states: list[Typed | None] = field(default_factory=list)
    seq: str = ""
    records: int = 0


@dataclass(frozen=True)
class Applied:
    """What a window held: records applied, and the sentinels seen."""

    records: int
    tokens: frozenset[str]


def timestamp(record: Mapping[str, Any]) -> float:
    """When the change was made, in Unix seconds."""
    return float(record["dynamodb"]["ApproximateCreationDateTime"].timestamp())


def lanes(table: Table, records: Iterable[Mapping[str, Any]]) -> tuple[list[Lane], set[str]]:
    """Group a window by source key, in order; the tokens of sentinels aside."""
    found: dict[bytes, Lane] = {}
    tokens: set[str] = set()
    for record in records:
        change = record["dynamodb"]
        old, new = change.get("OldImage"), change.get("NewImage")
        image = new or old
        if image is None:
            raise Gap(f"table {table.name}: the stream carries no images any more")
        if table.source.sentinel(image):
            if new and SENTINEL_MARK in new:
                tokens.add(new[SENTINEL_MARK]["S"])
            continue
        if timestamp(record) < int(table.position["t0"]) - table.settings.skew:
            continue
        key_id = table.source.key_id(change["Keys"])
        lane = found.setdefault(key_id, Lane(dict(change["Keys"])))
        if not lane.states or lane.states[-1] != old:
            lane.states.append(old)
        lane.states.append(new)
        lane.seq = change["SequenceNumber"]
        lane.records += 1
    return list(found.values()), tokens


def difference(
    table: Table, lane: Lane, held: Iterable[Typed]
) -> tuple[Outcome, dict[bytes, Typed]]:
    """What the item becomes, and every other key it may have left behind.

    Several changes become one write; that is safe because the keys of *all* states in between
    are deleted, not only those of the first.
    """
    stale = {table.target.key_id(key): dict(key) for key in held}
    for state in lane.states[:-1]:
        for key_id, output in table.migrate(state).outputs.items():
            stale[key_id] = table.target.key(output)
    last = table.migrate(lane.states[-1]) if lane.states[-1] is not None else NOTHING
    for key_id in last.outputs:
        stale.pop(key_id, None)
    return last, stale


def apply(table: Table, records: list[Mapping[str, Any]]) -> Applied:
    """Apply a window; returns when every write of it is acknowledged."""
    found, tokens = lanes(table, records)
    ops: dict[bytes, Op] = {}
    written: dict[bytes, tuple[Lane, Outcome, dict[bytes, Typed]]] = {}
    for index, lane in enumerate(found):
        source_id = table.source.key_id(lane.key)
        outcome, stale = difference(table, lane, table.quarantine.held(source_id))
        newest = lane.states[-1]
        if index == 0 and newest is not None:
            table.migrate.check_pure(newest, outcome)
        if outcome.failure:
            table.quarantine.add(
                table.source, lane.key, outcome.failure, lane.seq, list(stale.values())
            )
            continue
        written[source_id] = (lane, outcome, stale)
        keys = {key_id: table.target.key(out) for key_id, out in outcome.outputs.items()}
        table.changes.add(table.name, lane.key, {**stale, **keys}.items())
        for key_id, key in stale.items():
            _claim(ops, Op(key_id, key, None, source_id))
        for key_id, output in outcome.outputs.items():
            _claim(ops, Op(key_id, table.target.key(output), output, source_id))
    refused = {r.op.source: r.message for r in table.writer(table.applying).write(ops.values())}
    for source_id, (lane, outcome, stale) in written.items():
        if source_id not in refused:
            table.quarantine.resolve(source_id)
            continue
        held = [*stale.values(), *(table.target.key(out) for out in outcome.outputs.values())]
        failure = refusal(refused[source_id], lane.states[-1] or lane.key)
        table.quarantine.add(table.source, lane.key, failure, lane.seq, held)
    return Applied(sum(lane.records for lane in found), frozenset(tokens))


def _claim(ops: dict[bytes, Op], op: Op) -> None:
    other = ops.setdefault(op.key_id, op)
    if other.source != op.source:
        raise RuntimeError("two source items own one target item; the contract check is broken")
    ops[op.key_id] = op
