"""The release ledger: history, the live pointer and step records, in one table outside every stack.

One DynamoDB table per app, `fearless-<app>`. What changes at a cutover lives here and in DNS,
never in an immutable stack.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fearless.errors import FearlessError, Refused
from fearless.interfaces import Release


@dataclass(frozen=True)
class Live:
    """The live pointer. `transforms` are all the data has been through, as `name@digest`."""

    stack_id: str
    stack: str
    release: str
    sha: str
    since: float
    transforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepRecord:
    """When a step of a release was last made, how long it took (seconds), and what came of it."""

    step: str
    at: float
    seconds: float
    detail: str
    data: Mapping[str, Any]


class Ledger:
    """Reads answer as if empty while the table does not exist; the first write creates it."""

    def __init__(self, client: Any, app: str, clock: Callable[[], float] = time.time) -> None:
        self.client = client
        self.table = f"fearless-{app}"
        self.clock = clock
        self._made = False

    # ------------------------------------------------------------- the live pointer

    def live(self) -> Live | None:
        """What is live, read consistently."""
        item = self.get("LIVE", "LIVE")
        if item is None:
            return None
        return Live(**{**item, "transforms": tuple(item["transforms"])})

    def go_live(self, new: Live, expected: Live | None) -> None:
        """Compare-and-swap the live pointer. Raises Refused naming what is live instead."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if expected is not None:
            condition = {
                "ConditionExpression": "stack_id = :expected",
                "ExpressionAttributeValues": {":expected": {"S": expected.stack_id}},
            }
        self.ensure()
        try:
            self.client.put_item(
                TableName=self.table,
                Item=self.row("LIVE", "LIVE", asdict(new)) | {"stack_id": {"S": new.stack_id}},
                **condition,
            )
        except self.client.exceptions.ConditionalCheckFailedException:
            now = self.live()
            raise Refused(
                f"{now.stack if now else 'nothing'} is live, not "
                f"{expected.stack if expected else 'nothing'} as when this cutover began; "
                "somebody else changed it: look at `doit releases`"
            ) from None

    # ------------------------------------------------------------- history and steps

    def remember(self, release: Release, **facts: Any) -> None:
        """Add facts to a release's record; later facts of the same name replace earlier ones."""
        known = self.get("RELEASE", release.sha) or {
            "name": release.name,
            "sha": release.sha,
            "tag": release.tag,
            "stack": release.stack_name,
            "created": self.clock(),
        }
        self.put("RELEASE", release.sha, {**known, **facts})

    def amend(self, sha: str, **facts: Any) -> None:
        """Add facts to the record of a release that is already known."""
        known = self.get("RELEASE", sha)
        if known is not None:
            self.put("RELEASE", sha, {**known, **facts})

    def releases(self) -> list[dict[str, Any]]:
        """Every release there ever was, oldest first."""
        return sorted(self.all("RELEASE"), key=lambda record: float(record["created"]))

    def release(self, sha: str) -> dict[str, Any] | None:
        """The record of one release."""
        return self.get("RELEASE", sha)

    def step_done(self, release: Release, record: StepRecord) -> None:
        """Remember that a step was made."""
        self.put(f"STEPS#{release.stack_name}", record.step, asdict(record))

    def steps(self, release: Release) -> dict[str, StepRecord]:
        """The steps made for a release, by name."""
        rows = self.all(f"STEPS#{release.stack_name}")
        return {row["step"]: StepRecord(**row) for row in rows}

    def event(self, kind: str, message: str, **facts: Any) -> None:
        """Append a line of history."""
        at = self.clock()
        self.put("EVENT", f"{at:017.6f}", {"at": at, "kind": kind, "message": message, **facts})

    def events(self) -> list[dict[str, Any]]:
        """All history, oldest first."""
        return self.all("EVENT")

    # ------------------------------------------------------------- plain rows

    def get(self, pk: str, sk: str) -> dict[str, Any] | None:
        """One row's document, read consistently, or None."""
        try:
            answer = self.client.get_item(
                TableName=self.table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True
            )
        except self.client.exceptions.ResourceNotFoundException:
            return None
        return _document(answer["Item"]) if "Item" in answer else None

    def put(self, pk: str, sk: str, document: Mapping[str, Any]) -> None:
        """Write one row."""
        self.ensure()
        self.client.put_item(TableName=self.table, Item=self.row(pk, sk, document))

    def delete(self, pk: str, sk: str) -> None:
        """Remove one row; absent is fine."""
        try:
            self.client.delete_item(TableName=self.table, Key={"pk": {"S": pk}, "sk": {"S": sk}})
        except self.client.exceptions.ResourceNotFoundException:
            return

    def all(self, pk: str) -> list[dict[str, Any]]:
        """Every document under a partition key, in order of the sort key."""
        found: list[dict[str, Any]] = []
        request: dict[str, Any] = {
            "TableName": self.table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
            "ConsistentRead": True,
        }
        while True:
            try:
                page = self.client.query(**request)
            except self.client.exceptions.ResourceNotFoundException:
                return []
            found += [_document(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return found
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    @staticmethod
    def row(pk: str, sk: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """A row as DynamoDB stores it: the document as JSON in one attribute."""
        return {"pk": {"S": pk}, "sk": {"S": sk}, "document": {"S": json.dumps(dict(document))}}

    def ensure(self) -> None:
        """Create the table if it is not there."""
        if self._made:
            return
        try:
            self.client.describe_table(TableName=self.table)
        except self.client.exceptions.ResourceNotFoundException:
            self._create_table()
        self._made = True

    def _create_table(self) -> None:
        keys = (("pk", "HASH"), ("sk", "RANGE"))
        with contextlib.suppress(self.client.exceptions.ResourceInUseException):
            self.client.create_table(
                TableName=self.table,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": n, "KeyType": t} for n, t in keys],
                AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n, _ in keys],
                DeletionProtectionEnabled=True,
            )
        self.client.get_waiter("table_exists").wait(
            TableName=self.table, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        try:
            self.client.update_continuous_backups(
                TableName=self.table,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )
        except self.client.exceptions.ClientError as error:
            raise FearlessError(
                f"the ledger table {self.table} has no point-in-time recovery: {error}"
            ) from None


def _document(item: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(item["document"]["S"])
    return document
