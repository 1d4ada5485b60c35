"""Write items whose keys may pass from one source item to another, such as an e-mail address.

One source item gives a key up in one shard, another takes it in another shard, and nothing orders
the two. So every output carries its owner, the key of its source item, and every write is
conditional on it: a delete takes away only what is still its own, and a put that meets the output
of another source item asks the source who is right. A later change of either item has a record
that is applied later, so only three answers are possible:

- this item does not claim the key any more: nothing to do;
- the other one does not: its output is taken over;
- both do, at one moment: a collision. Neither wins; both are kept aside.

Taking over is the one write that can destroy an output of another item, if that item claims the
key again meanwhile, or if the request lands late. Both items are therefore put in *doubt*, in a
row, before it is sent; the doubt is lifted at once when the write was acknowledged and the other
item did not change, and else both are reconciled when no request can be under way any more.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import Caller, code, explain
from fearless.data.canonical import item_bytes
from fearless.data.state import CONDITION_FAILED
from fearless.data.tables import TableInfo, Typed, show
from fearless.data.transform import Outcome, Pipeline
from fearless.data.writer import Op, Rejected
from fearless.errors import FearlessError

ATTEMPTS = 50
REFUSED = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException"})
NOBODY = "the target holds an item of that key that belongs to no source item"

Settle = Callable[[bool], None]
Doubt = Callable[[Sequence[tuple[Typed, Typed]]], Settle]
Collided = Callable[[Typed, str, Typed], None]
Run = Callable[[Sequence[Callable[[], list[Rejected]]]], list[list[Rejected]]]


def no_doubt(_: Sequence[tuple[Typed, Typed]]) -> Settle:
    """Keep nothing."""
    return lambda _safe: None


def one_by_one(tasks: Sequence[Callable[[], list[Rejected]]]) -> list[list[Rejected]]:
    """Run tasks without threads."""
    return [task() for task in tasks]


@dataclass(frozen=True)
class Collision(Rejected):
    """A put that another source item, `other`, wants the key of as well; `theirs` tells it so."""

    other: bytes
    theirs: str


@dataclass(frozen=True)
class Source:
    """The source as it is now: `read(key)` is a consistent read of one item."""

    info: TableInfo
    migrate: Pipeline
    read: Callable[[Typed], Typed | None]

    def look(self, key: Typed) -> tuple[bytes | None, Outcome]:
        """The item's identity (None: there is none), and T of it."""
        item = self.read(key)
        return (None if item is None else item_bytes(item)), self.migrate(item)


class Transfer:
    """Writes to one target table by conditional single requests; stands in for a `Writer`.

    `doubt(pairs)` keeps `(source key, target key)` pairs in a row before a take-over, and returns
    what lifts it: called with True when all is well, with False when the pairs are to be
    reconciled after `zombie` seconds; not called at all when the process dies, and then they are
    due when the last request of this process can no longer land. In the first copy `no_doubt` will
    do, as every change since is replayed. `collided(source key, message, target key)` sets the
    other item of a collision aside. `run` performs `lanes` tasks, one for each part of the keys.
    """

    def __init__(
        self,
        client: Any,
        info: TableInfo,
        caller: Caller,
        source: Source,
        doubt: Doubt,
        collided: Collided,
        run: Run = one_by_one,
        lanes: int = 8,
    ) -> None:
        self._client = client
        self._info = info
        self._caller = caller
        self._source = source
        self._doubt = doubt
        self._collided = collided
        self._run = run
        self._lanes = lanes
        self._attribute = owner_attribute(source.migrate)

    def write(self, ops: Iterable[Op]) -> list[Rejected]:
        """Do all of them; returns those refused. Several sources may write one key.

        What one source item wants of one key must be asked for once only.
        """
        keys: dict[bytes, list[Op]] = {}
        puts: dict[tuple[bytes, bytes], Op] = {}
        for op in sorted(ops, key=lambda op: op.item is not None):
            keys.setdefault(op.key_id, []).append(op)
            if op.item:
                puts[op.source, op.key_id] = op
        parts = list(keys.values())
        self._caller.rng.shuffle(parts)
        tasks = [partial(self._part, parts[lane :: self._lanes]) for lane in range(self._lanes)]
        refused = [answer for part in self._run(tasks[: len(parts)]) for answer in part]
        clashes = [answer for answer in refused if isinstance(answer, Collision)]
        losers = [(clash, puts.get((clash.other, clash.op.key_id))) for clash in clashes]
        return refused + [
            Collision(op, clash.theirs, clash.op.source, clash.message)
            for clash, op in losers
            if op
        ]

    def _part(self, keys: Sequence[Sequence[Op]]) -> list[Rejected]:
        answers = [self._put(op) if op.item else self._delete(op) for ops in keys for op in ops]
        return [answer for answer in answers if answer]

    def _delete(self, op: Op) -> Rejected | None:
        mine: Any = {"M": json.loads(op.source)}
        for attempt in range(ATTEMPTS):
            try:
                self._send(self._caller, self._client.delete_item, mine, op.key, Key=op.key)
            except _Taken as taken:
                if taken.item is None or self._id(taken.item) != op.source:
                    return None
                mine = taken.item[self._attribute]
                self._caller.pause(attempt)
                continue
            return None
        raise self._unquiet(op)

    def _put(self, op: Op) -> Rejected | None:
        assert op.item is not None
        mine = op.item[self._attribute]
        for attempt in range(ATTEMPTS):
            if attempt:
                self._caller.pause(attempt - 1)
            try:
                self._send(
                    self._caller, self._client.put_item, mine, op.key, Item=op.item, absent=True
                )
            except ClientError as error:
                return self._refused(op, error)
            except _Taken as taken:
                if taken.item is None:
                    continue
                owner = taken.item.get(self._attribute, {}).get("M")
                if owner is None:
                    return Rejected(op, NOBODY)
                if self._source.info.key_id(owner) == op.source:
                    mine = taken.item[self._attribute]
                    continue
                settled, refused = self._dispute(op, owner)
                if not settled:
                    continue
                return refused
            return None
        raise self._unquiet(op)

    def _dispute(self, op: Op, other: Typed) -> tuple[bool, Rejected | None]:
        """Whether the matter is settled, and the refusal if that was the answer."""
        assert op.item is not None
        me: Typed = op.item[self._attribute]["M"]
        before, outcome = self._source.look(me)
        want = outcome.outputs.get(op.key_id)
        if want is None:
            return True, None
        theirs, their_outcome = self._source.look(other)
        if self._source.look(me)[0] != before:
            return False, None
        if their_outcome.failure:
            return True, Rejected(
                op,
                f"an output's key belongs to {show(other)}, which cannot be migrated at the moment",
            )
        if op.key_id in their_outcome.outputs:
            both = "an output's key is wanted by another source item too: {}"
            theirs_too = both.format(show(me))
            self._collided(other, theirs_too, op.key)
            other_id = self._source.info.key_id(other)
            return True, Collision(op, both.format(show(other)), other_id, theirs_too)
        return self._take_over(op, want, other, theirs)

    def _take_over(
        self, op: Op, want: Typed, other: Typed, theirs: bytes | None
    ) -> tuple[bool, Rejected | None]:
        unknown: list[bool] = []

        def missed() -> None:
            unknown.append(True)
            self._caller.unknown()

        caller = copy.copy(self._caller)
        caller.unknown = missed
        settle = self._doubt([(want[self._attribute]["M"], op.key), (other, op.key)])
        try:
            self._send(caller, self._client.put_item, {"M": other}, op.key, Item=want)
        except ClientError as error:
            settle(not unknown)
            return True, self._refused(op, error)
        except _Taken:
            settle(not unknown)
            return False, None
        settle(not unknown and self._source.look(other)[0] == theirs)
        return True, None

    def _send(
        self,
        caller: Caller,
        method: Callable[..., Any],
        owner: Any,
        key: Typed,
        absent: bool = False,
        **what: Any,
    ) -> None:
        """Write if the item there has that owner (or none is there). Raises _Taken if not."""
        names = {"#owner": self._attribute}
        condition = "#owner = :owner"
        if absent:
            names["#key"] = self._info.keys[0]
            condition = f"attribute_not_exists(#key) OR {condition}"
        if caller.brake is not None:
            caller.brake.acquire(1, caller.guard)
        try:
            caller.write(
                method,
                TableName=self._info.table,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={":owner": owner},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **what,
            )
        except ClientError as error:
            if code(error) != CONDITION_FAILED:
                raise
            answer: Any = error.response
            raise _Taken(answer.get("Item") or self._read(key)) from error

    def _read(self, key: Typed) -> Typed | None:
        """For endpoints that do not tell what made a condition fail."""
        answer = self._caller.read(
            self._client.get_item, TableName=self._info.table, Key=key, ConsistentRead=True
        )
        found: Typed | None = answer.get("Item")
        return found

    def _id(self, item: Typed) -> bytes | None:
        owner = item.get(self._attribute, {}).get("M")
        return None if owner is None else self._source.info.key_id(owner)

    def _refused(self, op: Op, error: ClientError) -> Rejected:
        if code(error) not in REFUSED:
            raise explain(error, f"writing to {self._info.table}") from error
        return Rejected(op, str(error.response["Error"].get("Message", "")))

    def _unquiet(self, op: Op) -> FearlessError:
        return FearlessError(
            f"{self._info.table}: {show(op.key)} passed from one source item to another during "
            f"each of {ATTEMPTS} attempts to write it; nothing is lost: run it again"
        )


class _Taken(Exception):
    """The condition failed; `item` is what is there, None if it is gone again."""

    def __init__(self, item: Typed | None) -> None:
        super().__init__()
        self.item = item


def owner_attribute(migrate: Pipeline) -> str:
    """The attribute that tells whose an output is. Raises ValueError when there is none."""
    for transform in migrate.transforms:
        if transform.kind == "transferable":
            return str(transform.owner_attribute)
    raise ValueError("no transform is of kind 'transferable'")
