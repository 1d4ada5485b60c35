"""The emulator parses an expression once, and still refuses and evaluates as before."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.testing.emulator import Emulator


@pytest.fixture
def query(emulator: Emulator) -> Any:
    """Ask a table of forty items with one hash key."""
    client, name = emulator.client("dynamodb"), f"expressions-{uuid.uuid4().hex[:8]}"
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in "ab"],
        KeySchema=[
            {"AttributeName": "a", "KeyType": "HASH"},
            {"AttributeName": "b", "KeyType": "RANGE"},
        ],
    )
    for number in range(40):
        client.put_item(TableName=name, Item={"a": {"S": "x"}, "b": {"S": f"{number:02d}"}})

    def ask(expression: str, prefix: str) -> list[str]:
        answer = client.query(
            TableName=name,
            KeyConditionExpression=expression,
            ExpressionAttributeNames={"#a": "a", "#b": "b"},
            ExpressionAttributeValues={":a": {"S": "x"}, ":b": {"S": prefix}},
        )
        return [item["b"]["S"] for item in answer["Items"]]

    return ask


def test_one_text_with_other_values_is_another_question(query: Any) -> None:
    text = "#a = :a AND begins_with(#b, :b)"
    for tens in "0312":
        assert query(text, tens) == [f"{tens}{n}" for n in range(10)]
    assert query("#a = :a AND #b < :b", "02") == ["00", "01"]


def test_what_is_refused_is_refused_each_time(query: Any) -> None:
    for _ in range(2):
        with pytest.raises(ClientError, match="ValidationException"):
            query("#a = :a AND AND #b = :b", "1")
