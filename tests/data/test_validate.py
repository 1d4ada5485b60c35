"""The validator: DynamoDB's rules for an item, and its size."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings

from fearless.data.fast import bound
from fearless.data.tables import TableInfo
from fearless.data.validate import Invalid, check, number_size, size
from tests.data.strategies import items

INFO = TableInfo(
    "t", "i", "a", None, None, ("id",), {"id": "S", "by": "N", "at": "S"}, 0, 0, {"at": 1024}
)
BINARY = TableInfo("t", "i", "a", None, None, ("id", "at"), {"id": "B", "at": "B"}, 0, 0)


@settings(max_examples=60)
@given(items)
def test_valid_items_pass(typed: dict[str, Any]) -> None:
    typed = {name: value for name, value in typed.items() if name not in ("by", "at")}
    check({**typed, "id": {"S": "x"}}, INFO)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(levels):
        value = {"L": [value]}
    return value


@pytest.mark.parametrize(
    ("item", "rule"),
    [
        ({}, "key attribute 'id' missing"),
        ({"id": {"N": "1"}}, "key attribute 'id' is of type N, not S"),
        ({"id": {"S": ""}}, "key attribute 'id' empty"),
        ({"id": {"S": "x" * 2049}}, "key attribute 'id' over 2048 bytes"),
        ({"id": {"S": "x"}, "by": {"S": "1"}}, "index key 'by' is of type S, not N"),
        ({"id": {"S": "x"}, "v": {"N": "1" * 39}}, "number over 38 digits"),
        ({"id": {"S": "x"}, "v": {"N": "1E126"}}, "number out of range"),
        ({"id": {"S": "x"}, "v": {"N": "x"}}, "not a number"),
        ({"id": {"S": "x"}, "v": {"SS": []}}, "empty set"),
        ({"id": {"S": "x"}, "v": {"NS": ["1", "1.0"]}}, "set with a member twice"),
        ({"id": {"S": "x"}, "v": nested(33)}, "nested over 32 levels"),
        ({"id": {"S": "x"}, "v": {"B": b"x" * 409_600}}, "item over 400 KB"),
        ({"id": {"S": "é" * 1025}}, "key attribute 'id' over 2048 bytes"),
        ({"id": {"S": "x"}, "at": {"S": ""}}, "index key 'at' empty"),
        ({"id": {"S": "x"}, "at": {"S": "x" * 1025}}, "index key 'at' over 1024 bytes"),
        ({"id": {"S": "x"}, "at": {"NULL": True}}, "index key 'at' is of type NULL, not S"),
        ({"id": {"S": "\ud800"}}, "text that is not valid Unicode"),
        ({"id": {"S": "x"}, "": {"S": "x"}}, "attribute name empty"),
        ({"id": {"S": "x"}, "n" * 65536: {"S": "x"}}, "attribute name over 64 KB"),
        ({"id": {"S": "x"}, "v": {"N": "1E-131"}}, "number out of range"),
        ({"id": {"S": "x"}, "v": {"N": "-1E999999"}}, "number out of range"),
        ({"id": {"S": "x"}, "v": {"N": "NaN"}}, "not a number"),
        ({"id": {"S": "x"}, "v": {"N": " 1"}}, "not a number"),
        ({"id": {"S": "x"}, "v": {"N": "1_0"}}, "not a number"),
        ({"id": {"S": "x"}, "v": {"N": "٣"}}, "not a number"),
        ({"id": {"S": "x"}, "v": {"N": ""}}, "not a number"),
        ({"id": {"S": "x"}, "v": {"N": "1." + "0" * 2000}}, "not a number"),
        ({"id": {"S": "x"}, "v": {"N": 1}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"S": None}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"NULL": False}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"BOOL": 1}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"BOOL": "true"}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"M": []}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"L": {}}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"SS": "ab"}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"S": "a", "N": "1"}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": "x"}, "not a typed value"),
        ({"id": "x"}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"Q": "x"}}, "unknown type"),
        ({"id": {"S": "x"}, "v": {"B": "AAE"}}, "binary that is not base64"),
        ({"id": {"S": "x"}, "v": {"B": "A$E="}}, "binary that is not base64"),
        ({"id": {"S": "x"}, "v": {"BS": [b"\0", "AA=="]}}, "set with a member twice"),
        ({"id": {"S": "x"}, "v": {"SS": ["a", "a"]}}, "set with a member twice"),
        ({"id": {"S": "x"}, "v": {"SS": [None]}}, "not a typed value"),
        ({"id": {"S": "x"}, "v": {"L": [{"M": {"a": {"NS": []}}}]}}, "empty set"),
    ],
)
def test_rules(item: dict[str, Any], rule: str) -> None:
    with pytest.raises(Invalid) as caught:
        check(item, INFO)
    assert str(caught.value) == rule


def test_limits_themselves_are_allowed() -> None:
    check({"id": {"S": "x" * 2048}, "v": nested(32), "n": {"N": "9" * 38}}, INFO)
    check({"id": {"S": "x"}, "at": {"S": "x" * 1024}, "by": {"N": "0"}}, INFO)
    check(
        {"id": {"S": "x"}, "v": {"SS": [""]}, "w": {"S": ""}, "y": {"L": []}, "z": {"M": {}}}, INFO
    )
    check({"id": {"S": "x"}, "v": {"N": "9" * 38 + "E88"}, "w": {"N": "-1E-130"}}, INFO)
    check({"id": {"S": "x"}, "v": {"B": b"x" * (409_600 - 4)}}, INFO)
    check({"id": {"S": "x"}, "v": {"N": "0E-400"}, "w": {"N": "1" + "0" * 100}}, INFO)
    assert size({"ab": {"S": "é"}, "n": {"N": "123"}}) == 2 + 2 + 1 + 3


def test_keys_may_be_binary_of_either_spelling() -> None:
    check({"id": {"B": b"x" * 2048}, "at": {"B": b64encode(b"x" * 1024).decode()}}, BINARY)
    for key in ({"B": b""}, {"B": ""}):
        with pytest.raises(Invalid, match="key attribute 'at' empty"):
            check({"id": {"B": b"x"}, "at": key}, BINARY)
    with pytest.raises(Invalid, match="key attribute 'at' over 1024 bytes"):
        check({"id": {"B": b"x"}, "at": {"B": b64encode(b"x" * 1025).decode()}}, BINARY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 1), ("7", 2), ("-7", 3), ("12", 2), ("123", 3), ("1E+2", 2), ("0.012", 2), ("1.50", 2)],
)
def test_the_size_of_a_number(text: str, expected: int) -> None:
    assert number_size(text) == expected


@settings(max_examples=100)
@given(items)
def test_the_bound_is_never_below_the_size(typed: dict[str, Any]) -> None:
    wire = _wire(typed)
    assert bound(wire) >= size(wire) == size(typed)
    assert bound(typed) >= size(typed)


def _wire(value: Any) -> Any:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _wire(member) for name, member in value.items()}
    return [_wire(member) for member in value] if isinstance(value, list) else value
