"""What the tests of fences share: a memory, a clock that sleeping moves, a table's description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Notes:
    """A fence's memory."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def load(self, name: str) -> Mapping[str, Any] | None:
        return self.rows.get(name)

    def save(self, name: str, row: Mapping[str, Any]) -> None:
        self.rows[name] = dict(row)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def described(name: str, **more: Any) -> dict[str, Any]:
    return {
        "TableName": name,
        "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        **more,
    }
