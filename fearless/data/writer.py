"""Puts and deletes in batches, until every one is acknowledged or refused for good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import Caller, code, explain
from fearless.data.tables import TableInfo, Typed
from fearless.errors import FearlessError

BATCH = 25
_REFUSED = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException"})


@dataclass(frozen=True)
class Op:
    """Put `item` (or delete, when None) at `key`, for the source item `source`."""

    key_id: bytes
    key: Typed
    item: Typed | None
    source: bytes

    @property
    def request(self) -> dict[str, Any]:
        """As BatchWriteItem wants it."""
        if self.item is None:
            return {"DeleteRequest": {"Key": self.key}}
        return {"PutRequest": {"Item": self.item}}


@dataclass(frozen=True)
class Rejected:
    """An operation the table would not take, and why."""

    op: Op
    message: str


class Writer:
    """Writes to one target table."""

    def __init__(self, client: Any, info: TableInfo, caller: Caller) -> None:
        self._client = client
        self._info = info
        self._caller = caller

    def write(self, ops: Iterable[Op]) -> list[Rejected]:
        """Do all of them, in no order; one operation per key. Returns those refused."""
        pending = list(ops)
        self._caller.rng.shuffle(pending)
        rejected: list[Rejected] = []
        for start in range(0, len(pending), BATCH):
            rejected += self._batch(pending[start : start + BATCH])
        return rejected

    def _batch(self, ops: Sequence[Op]) -> list[Rejected]:
        left, attempt, since = {op.key_id: op for op in ops}, 0, self._caller.clock()
        while left:
            try:
                answer = self._caller.write(
                    self._client.batch_write_item,
                    RequestItems={self._info.table: [op.request for op in left.values()]},
                )
            except ClientError as error:
                if code(error) not in _REFUSED:
                    raise explain(error, f"writing to {self._info.table}") from error
                return self._bisect(list(left.values()), error)
            unprocessed = answer.get("UnprocessedItems", {}).get(self._info.table, [])
            if len(unprocessed) < len(left):
                attempt, since = 0, self._caller.clock()
            left = {op.key_id: op for op in map(left.__getitem__, map(self._id, unprocessed))}
            if left:
                if self._caller.clock() - since > self._caller.patience:
                    raise FearlessError(
                        f"{self._info.table} took none of {len(left)} writes for "
                        f"{self._caller.patience:.0f} s: raise its write capacity, then run again"
                    )
                self._caller.pause(attempt)
                attempt += 1
        return []

    def _bisect(self, ops: list[Op], error: ClientError) -> list[Rejected]:
        if len(ops) == 1:
            return [Rejected(ops[0], str(error.response["Error"].get("Message", "")))]
        middle = len(ops) // 2
        return self._batch(ops[:middle]) + self._batch(ops[middle:])

    def _id(self, request: dict[str, Any]) -> bytes:
        if "PutRequest" in request:
            return self._info.key_id(request["PutRequest"]["Item"])
        return self._info.key_id(request["DeleteRequest"]["Key"])
