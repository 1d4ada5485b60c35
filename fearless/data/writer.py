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

Request = dict[str, Any]


@dataclass(frozen=True)
class Op:
    """Put `item` (or delete, when None) at `key`, for the source item `source`."""

    key_id: bytes
    key: Typed
    item: Typed | None
    source: bytes

    @property
    def request(self) -> Request:
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
        asked = {op.key_id: op for op in ops}
        refused = self._all([op.request for op in asked.values()])
        return [Rejected(asked[self._id(request)], message) for request, message in refused]

    def put(self, items: Iterable[Typed]) -> list[tuple[Typed, str]]:
        """Put items of different keys, in no order. Returns those refused, with the reason."""
        refused = self._all([{"PutRequest": {"Item": item}} for item in items])
        return [(request["PutRequest"]["Item"], message) for request, message in refused]

    def _all(self, requests: list[Request]) -> list[tuple[Request, str]]:
        """Each batch takes requests from all over: neighbours would hit one partition together."""
        refused: list[tuple[Request, str]] = []
        count = -(-len(requests) // BATCH)
        for start in self._caller.rng.sample(range(count), count):
            refused += self._batch(requests[start::count])
        return refused

    def _batch(self, left: list[Request]) -> list[tuple[Request, str]]:
        caller, table = self._caller, self._info.table
        attempt, since = 0, caller.clock()
        while left:
            if caller.brake is not None:
                caller.brake.acquire(len(left), caller.guard)
            try:
                answer = caller.write(self._client.batch_write_item, RequestItems={table: left})
            except ClientError as error:
                if code(error) not in _REFUSED:
                    raise explain(error, f"writing to {table}") from error
                return self._bisect(left, error)
            unprocessed = (answer.get("UnprocessedItems") or {}).get(table) or []
            if not unprocessed:
                return []
            if caller.brake is not None:
                caller.brake.throttled(len(unprocessed) / len(left))
            if len(unprocessed) < len(left):
                attempt, since = 0, caller.clock()
            left = unprocessed
            if caller.clock() - since > caller.patience:
                raise FearlessError(
                    f"{table} took none of {len(left)} writes for {caller.patience:.0f} s: raise "
                    "its write capacity, then run again"
                )
            caller.pause(attempt)
            attempt += 1
        return []

    def _bisect(self, requests: list[Request], error: ClientError) -> list[tuple[Request, str]]:
        if len(requests) == 1:
            return [(requests[0], str(error.response["Error"].get("Message", "")))]
        middle = len(requests) // 2
        return self._batch(requests[:middle]) + self._batch(requests[middle:])

    def _id(self, request: Request) -> bytes:
        if "PutRequest" in request:
            return self._info.key_id(request["PutRequest"]["Item"])
        return self._info.key_id(request["DeleteRequest"]["Key"])


def batches(keys: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Slices of at most `size`."""
    return (keys[start : start + size] for start in range(0, len(keys), size))
