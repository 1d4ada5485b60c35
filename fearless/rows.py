"""Documents in one DynamoDB table with the keys `pk` and `sk`; it is made when first written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar


class Rows:
    """Reads answer as if empty while the table does not exist; the first write creates it.

    Each row holds a document as JSON. `creation` is what the table is created with besides its
    keys.
    """

    creation: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, client: Any, table: str) -> None:
        self.client = client
        self.table = table
        self._made = False

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

    def all(self, pk: str, after: str = "") -> list[dict[str, Any]]:
        """Every document under a partition key, in order of the sort key; those `after` one."""
        found: list[dict[str, Any]] = []
        request: dict[str, Any] = {
            "TableName": self.table,
            "KeyConditionExpression": "pk = :pk AND sk > :sk" if after else "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}}
            | ({":sk": {"S": after}} if after else {}),
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
                **self.creation,
            )
        self.client.get_waiter("table_exists").wait(
            TableName=self.table, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        self.created()

    def created(self) -> None:
        """What is to be done to the table right after it was made."""


def _document(item: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(item["document"]["S"])
    return document
