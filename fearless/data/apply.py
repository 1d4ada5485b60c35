"""Apply one window of a shard's records as differences: the heart of the replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fearless.data.calls import Caller
from fearless.data.context import Table
from fearless.data.copy import Ops, claim_key, rejection
from fearless.data.doubts import writer_of
from fearless.data.position import Gap
from fearless.data.tables import SENTINEL_MARK, Typed
from fearless.data.touched import Touched
from fearless.data.transform import NOTHING, Outcome
from fearless.data.writer import Op


@dataclass
class Lane:
    """The states one source item went through in a window, the one before it first."""

    key: Typed
    key_id: bytes
    states: list[Typed | None] = field(default_factory=list)
    seq: str = ""
    records: int = 0


@dataclass(frozen=True)
class Window:
    """What a window of records holds: lanes by source key, sentinels' tokens, deletes by TTL."""

    lanes: Sequence[Lane]
    tokens: Sequence[str]
    expired: int

    @property
    def records(self) -> int:
        """How many changes there are, sentinels aside."""
        return sum(lane.records for lane in self.lanes)


def timestamp(record: Mapping[str, Any]) -> float:
    """When the change was made, in Unix seconds."""
    moment = record["dynamodb"]["ApproximateCreationDateTime"]
    return float(moment) if isinstance(moment, int | float) else float(moment.timestamp())


def window(table: Table, records: Iterable[Mapping[str, Any]]) -> Window:
    """Group records by source key, in order; sentinels and what lies before P0 aside."""
    found: dict[bytes, Lane] = {}
    tokens: dict[str, None] = {}
    expired = 0
    for record in records:
        change = record["dynamodb"]
        old, new = change.get("OldImage"), change.get("NewImage")
        image = new or old
        if image is None:
            raise Gap(f"table {table.name}: the stream carries no images any more")
        if table.source.sentinel(image):
            if new and SENTINEL_MARK in new:
                tokens[new[SENTINEL_MARK]["S"]] = None
            continue
        if timestamp(record) < int(table.position["t0"]) - table.settings.skew:
            continue
        expired += by_ttl(record)
        key_id = table.source.key_id(change["Keys"])
        lane = found.setdefault(key_id, Lane(dict(change["Keys"]), key_id))
        if not lane.states or lane.states[-1] != old:
            lane.states.append(old)
        lane.states.append(new)
        lane.seq = change["SequenceNumber"]
        lane.records += 1
    return Window(list(found.values()), tuple(tokens), expired)


def by_ttl(record: Mapping[str, Any]) -> bool:
    """Whether DynamoDB itself deleted the item because its time had come."""
    identity = record.get("userIdentity") or {}
    who = identity.get("PrincipalId") or identity.get("principalId")
    return bool(who == "dynamodb.amazonaws.com")


def difference(
    table: Table, lane: Lane, held: Iterable[Typed]
) -> tuple[Outcome, dict[bytes, Typed]]:
    """What the item becomes, and every other key it may have left behind.

    Several changes become one write; that is safe because the keys of *all* states in between
    are deleted, not only those of the first. An item that keeps its key left nothing elsewhere.
    """
    stale = {table.target.key_id(key): dict(key) for key in held}
    if table.migrate.kind == "keep-key":
        last = table.migrate(lane.states[-1]) if lane.states[-1] is not None else NOTHING
        if not last.outputs:
            stale[lane.key_id] = lane.key
        elif stale:
            stale.pop(lane.key_id, None)
        return last, stale
    for state in lane.states[:-1]:
        for key_id, output in table.migrate(state).outputs.items():
            stale[key_id] = table.target.key(output)
    last = table.migrate(lane.states[-1]) if lane.states[-1] is not None else NOTHING
    for key_id in last.outputs:
        stale.pop(key_id, None)
    return last, stale


def apply(table: Table, caller: Caller, window: Window) -> list[Touched]:
    """Apply a window; returns the keys it touched when every write of it is acknowledged."""
    ops: Ops = {}
    written: dict[bytes, tuple[Lane, Outcome, dict[bytes, Typed]]] = {}
    touched: list[Touched] = []
    for index, lane in enumerate(window.lanes):
        source_id = lane.key_id
        outcome, stale = difference(table, lane, table.quarantine.held(source_id))
        newest = lane.states[-1]
        if index == 0 and newest is not None:
            table.migrate.check_pure(newest, outcome)
        if outcome.failure:
            held = list(stale.values())
            table.quarantine.add(table.source, lane.key, outcome.failure, lane.seq, held)
            touched.append(Touched(lane.key, held))
            continue
        written[source_id] = (lane, outcome, stale)
        keys = [table.target.key(output) for output in outcome.outputs.values()]
        touched.append(Touched(lane.key, [*stale.values(), *keys]))
        for key_id, key in stale.items():
            claim_key(table, ops, Op(key_id, key, None, source_id))
        for key_id, output in outcome.outputs.items():
            claim_key(table, ops, Op(key_id, table.target.key(output), output, source_id))
    refused = {r.op.source: r for r in writer_of(table, caller).write(ops.values())}
    for source_id, (lane, outcome, stale) in written.items():
        if source_id not in refused:
            table.quarantine.resolve(source_id)
            continue
        held = [*stale.values(), *(table.target.key(out) for out in outcome.outputs.values())]
        failure = rejection(refused[source_id], lane.states[-1] or lane.key)
        table.quarantine.add(table.source, lane.key, failure, lane.seq, held)
    return touched
