"""The rows a data run remembers itself by. They are the only truth: any process can go on.

`RUN#id / META` is the run and its coordinator's lease in one row, `RUN#id / WORKER#<id>` a worker
and its lease. Everything else is of one generation (a recopy begins another):
`RUN#id#G0001 / T#orders#SEG#0003`, `...#SHARD#<id>`, `...#Q#<hash>`. A row's version `v` is the
number of its claim, shifted by 40 bits, plus a counter: who lost a claim can never write again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import Caller, code
from fearless.data.items import Item, decode
from fearless.errors import FearlessError

Row = dict[str, Any]
CONDITION_FAILED = "ConditionalCheckFailedException"


class Outdated(FearlessError):
    """Another worker has taken the row over."""


def _plain(typed: Mapping[str, Any]) -> Any:
    ((kind, raw),) = typed.items()
    if kind == "N":
        number = Decimal(raw)
        return int(number) if number == number.to_integral_value() else number
    if kind == "M":
        return {name: _plain(member) for name, member in raw.items()}
    if kind == "L":
        return [_plain(member) for member in raw]
    return decode(typed)


def load(typed: Mapping[str, Any]) -> Row:
    """A row as plain values; whole numbers are ints."""
    return {name: _plain(value) for name, value in typed.items()}


class StateTable:
    """Reads and writes the rows of one run."""

    def __init__(self, client: Any, table: str, run: str) -> None:
        self._client = client
        self._table = table
        self._pk = f"RUN#{run}"
        self._lock = threading.Lock()
        self._counter = 0

    def meta(self, caller: Caller) -> Row | None:
        """The META row, read consistently."""
        return self.row(caller, 0, "META")

    def put_meta(self, caller: Caller, meta: Row, seen: int | None) -> bool:
        """Replace META if it is still at version `seen` (None: absent). False: it is not."""
        return self.swap(caller, "META", meta, seen)

    def swap(self, caller: Caller, sk: str, row: Row, seen: int | None) -> bool:
        """Replace a row of the run that counts its own `version`, if it is still at `seen`."""
        return self._put(caller, {**row, "pk": self._pk, "sk": sk}, _still("version", seen))

    def write(self, caller: Caller, sk: str, row: Row) -> None:
        """Write a row of the run, whatever is there."""
        self._put(caller, {**row, "pk": self._pk, "sk": sk}, {})

    def rows(self, caller: Caller, generation: int, prefix: str = "") -> list[Row]:
        """Every row of a generation whose sort key starts with `prefix`, in order."""
        rows: list[Row] = []
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": self._partition(generation)}},
        }
        if prefix:
            request["KeyConditionExpression"] += " AND begins_with(sk, :prefix)"
            request["ExpressionAttributeValues"][":prefix"] = {"S": prefix}
        while True:
            page = caller.read(self._client.query, **request)
            rows += [load(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return rows
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def row(self, caller: Caller, generation: int, sk: str) -> Row | None:
        """One row, read consistently."""
        return self._get(caller, self._partition(generation), sk)

    def replace(
        self, caller: Caller, generation: int, sk: str, row: Row, seen: int | None
    ) -> Row | None:
        """Write a row that is still at version `seen` (None: absent) as its next claim.

        Returns the row as it is now, or None when somebody else was quicker.
        """
        version = (((seen or 0) >> 40) + 1) << 40
        full = {**row, "pk": self._partition(generation), "sk": sk, "v": version}
        return full if self._put(caller, full, _still("v", seen)) else None

    def delete(self, caller: Caller, generation: int, sk: str, claim: int | None = None) -> bool:
        """Remove a row (only if nobody came after the `claim`-th claim). False: somebody did."""
        condition: dict[str, Any] = {}
        if claim is not None:
            condition = {
                "ConditionExpression": "attribute_not_exists(pk) OR v < :next",
                "ExpressionAttributeValues": {":next": {"N": str((claim + 1) << 40)}},
            }
        try:
            caller.write(
                self._client.delete_item,
                TableName=self._table,
                Key={"pk": {"S": self._partition(generation)}, "sk": {"S": sk}},
                **condition,
            )
        except ClientError as error:
            if code(error) != CONDITION_FAILED:
                raise
            return False
        return True

    def put(self, caller: Caller, generation: int, claim: int, sk: str, row: Row) -> None:
        """Write a row of the `claim`-th claim; a late repetition can never undo a later one.

        Raises Outdated when another worker has claimed it since.
        """
        with self._lock:
            self._counter += 1
            version = (claim << 40) + self._counter
        full = {**row, "pk": self._partition(generation), "sk": sk, "v": version}
        newer = {
            "ConditionExpression": "attribute_not_exists(pk) OR v < :v",
            "ExpressionAttributeValues": {":v": {"N": str(version)}},
        }
        if not self._put(caller, full, newer):
            found = self.row(caller, generation, sk)
            if found is None or int(found["v"]) >> 40 > claim:
                raise Outdated("another worker has taken this part over")

    def _put(self, caller: Caller, full: Row, condition: dict[str, Any]) -> bool:
        """Write a row on a condition. False: it did not hold, and the row is not there as it is.

        When it is, an answer to an earlier attempt was lost.
        """
        typed = Item.of(full).typed
        try:
            caller.write(self._client.put_item, TableName=self._table, Item=typed, **condition)
        except ClientError as error:
            if code(error) != CONDITION_FAILED:
                raise
            return self._get(caller, full["pk"], full["sk"]) == load(typed)
        return True

    def _get(self, caller: Caller, pk: str, sk: str) -> Row | None:
        answer = caller.read(
            self._client.get_item,
            TableName=self._table,
            Key={"pk": {"S": pk}, "sk": {"S": sk}},
            ConsistentRead=True,
        )
        return load(answer["Item"]) if "Item" in answer else None

    def _partition(self, generation: int) -> str:
        return f"{self._pk}#G{generation:04d}" if generation else self._pk


def _still(name: str, seen: int | None) -> dict[str, Any]:
    """The condition that a row's number is the one that was seen; None: that there is no row."""
    if seen is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": f"{name} = :seen",
        "ExpressionAttributeValues": {":seen": {"N": str(seen)}},
    }
