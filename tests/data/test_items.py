"""Items, digests and the validator: exact for every value DynamoDB can hold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.data.canonical import item_bytes, number
from fearless.data.items import Item, decode, encode
from fearless.data.tables import TableInfo, show
from tests.data.strategies import digits, items, values


@given(values)
def test_a_value_survives_decoding_and_encoding(value: dict[str, Any]) -> None:
    again = encode(decode(value))
    assert item_bytes({"x": again}) == item_bytes({"x": value})


@given(items)
def test_what_is_not_touched_stays_bit_for_bit(typed: dict[str, Any]) -> None:
    item = Item(dict(typed)).copy()
    for name in item:
        item.get(name)
    item["one more"] = Decimal("1.50")
    del item["one more"]
    assert item.typed == typed
    assert all(item.typed[name] is typed[name] for name in typed)
    assert item == Item(typed)


def test_hard_values() -> None:
    item = Item.of({"n": Decimal("1.50"), "b": b"\0\0", "e": "", "s": {1, 2}, "z": None})
    assert item.typed["n"] == {"N": "1.50"}
    assert item["b"] == b"\0\0"
    assert item.typed["s"] == {"NS": ["1", "2"]}
    assert item["z"] is None
    assert item == {"n": Decimal("1.5"), "b": b"\0\0", "e": "", "s": {1, 2}, "z": None}
    big = "1" * 38
    assert Item({"n": {"N": big}})["n"] == int(big)
    assert item.pop("absent", 7) == 7
    with pytest.raises(KeyError):
        item.pop("absent")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "attribute 'x' is a float, which is not exact: use int or Decimal"),
        ([{"y": 0.5}], "attribute 'x'[0].y is a float"),
        (set(), "attribute 'x' is an empty set"),
        ({1, "a"}, "attribute 'x' is a set that is not all str"),
        ({1.5}, "attribute 'x' is a set that is not all str"),
        (Decimal("NaN"), "attribute 'x' is not a finite number"),
        (object(), "attribute 'x' is a object"),
        ({1: 2}, "attribute 'x': the names in a map are strings, not int"),
    ],
)
def test_what_cannot_be_stored_is_refused(value: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Item()["x"] = value
    assert str(caught.value).startswith(message)


@given(digits, st.integers(-60, 60), st.integers(0, 6))
def test_equal_numbers_have_one_spelling(n: int, exponent: int, zeros: int) -> None:
    value = f"{n}E{exponent}"
    padded = f"{n}{'0' * zeros}E{exponent - zeros}"
    assert number(value) == number(padded) == number(format(Decimal(value), "f"))
    assert number(f"{n}E{exponent}") != number(f"{n + 1}E{exponent}")


def test_forty_digits_are_not_rounded() -> None:
    long = "1234567890123456789012345678901234567890123"
    assert number(long) != number(long[:-1] + "4")
    assert number("-0") == number("0") == number("0.00")
    assert number("1E+2") == number("100") == number("100.0")


def test_a_key_for_people() -> None:
    shown = "store='s1', n=7, b=b'\\x00'"
    assert show({"store": {"S": "s1"}, "n": {"N": "7"}, "b": {"B": b"\0"}}) == shown
    assert show({"store": {"S": "s1"}, "n": {"N": "7"}, "b": {"B": "AA=="}}) == shown


def test_binary_as_the_wire_has_it() -> None:
    item = Item({"b": {"B": "AAE="}, "s": {"BS": ["AA==", "/w=="]}, "l": {"L": [{"B": "AA=="}]}})
    assert item["b"] == b"\0\1"
    assert item["s"] == {b"\0", b"\xff"}
    assert item["l"] == [b"\0"]
    other = item.copy()
    for name in item:
        other[name] = item[name]
    assert other.typed["b"] == {"B": b"\0\1"}
    assert other == item
    assert item.pop("b") == b"\0\1"


def test_limits_of_index_keys_come_from_their_roles() -> None:
    info = TableInfo.of(
        {
            "TableName": "t",
            "TableArn": "arn",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": "S"} for name in ("id", "a", "b")
            ],
            "GlobalSecondaryIndexes": [
                {
                    "KeySchema": [
                        {"AttributeName": "a", "KeyType": "HASH"},
                        {"AttributeName": "b", "KeyType": "RANGE"},
                    ]
                },
                {"KeySchema": [{"AttributeName": "b", "KeyType": "HASH"}]},
            ],
        }
    )
    assert info.limits == {"a": 2048, "b": 1024}
