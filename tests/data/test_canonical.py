"""Canonical bytes: equal exactly when DynamoDB would call the items equal."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.data.canonical import binary, digest, item_bytes, number, value_bytes
from fearless.data.items import Item
from fearless.data.tables import TableInfo
from tests.data.strategies import few_items, few_texts, items, respelled_item

KEYS = TableInfo("t", "i", "a", None, None, ("z", "b"), {"z": "S", "b": "N"}, 0, 0)
HASH = TableInfo("t", "i", "a", None, None, ("z",), {"z": "S"}, 0, 0)


def meaning(value: dict[str, Any]) -> Any:
    """What a typed value says, by Python's own equality: nothing of the code under test."""
    ((kind, raw),) = value.items()
    match kind:
        case "N":
            return "N", Fraction(Decimal(raw))
        case "L":
            return "L", tuple(meaning(member) for member in raw)
        case "M":
            return "M", frozenset((name, meaning(member)) for name, member in raw.items())
        case "NS":
            return "NS", frozenset(Fraction(Decimal(member)) for member in raw)
        case "SS" | "BS":
            return kind, frozenset(raw)
        case _:
            return kind, raw


@given(few_items, few_items)
def test_bytes_are_equal_exactly_when_the_meaning_is(one: Any, other: Any) -> None:
    equal = meaning({"M": one}) == meaning({"M": other})
    assert (item_bytes(one) == item_bytes(other)) == equal
    assert (digest(one) == digest(other)) == equal


@given(st.data(), st.one_of(items, few_items))
def test_another_spelling_has_the_same_bytes(data: Any, item: Any) -> None:
    other = data.draw(respelled_item(item))
    assert item_bytes(other) == item_bytes(item)
    assert digest(other) == digest(item)
    assert Item(other) == Item(item)


@given(st.data(), few_texts, st.integers(-99, 99))
def test_a_key_is_identified_by_its_canonical_bytes(data: Any, text: str, n: int) -> None:
    key = {"z": {"S": text}, "b": {"N": str(n)}}
    other = data.draw(respelled_item({**key, "more": {"BOOL": True}}))
    assert KEYS.key_id(other) == KEYS.key_id(key) == item_bytes(key)
    assert HASH.key_id(other) == item_bytes({"z": {"S": text}})


@given(st.text(max_size=4), st.text(max_size=4), st.sampled_from(["a", "100%", '"', "\\", "é"]))
def test_identities_of_text_are_canonical(one: str, two: str, name: str) -> None:
    info = TableInfo("t", "i", "a", None, None, (name, "b"), {name: "S", "b": "S"}, 0, 0)
    key = {"b": {"S": two}, name: {"S": one}}
    assert info.key_id({"c": {"N": "1"}, **key}) == item_bytes(key)
    with pytest.raises(KeyError):
        info.key_id({name: {"S": one}})


@pytest.mark.parametrize("text", ["\ud800", "\ud83d\ude00", "a\udfff"])
def test_text_that_is_not_unicode_is_told_apart(text: str) -> None:
    others = [text, f"{text}x", "😀", "?", text.encode("utf-8", "replace").decode()]
    assert len({item_bytes({"a": {"S": each}}) for each in others}) == len(set(others))
    assert len({item_bytes({each: {"N": "1.0"}}) for each in others}) == len(set(others))
    assert item_bytes({text: {"N": "1.0"}}) == item_bytes({text: {"N": "1"}})
    assert HASH.key_id({"z": {"S": text}}) == item_bytes({"z": {"S": text}})


def test_binary_is_bytes_or_base64() -> None:
    same = [b"\0\1", bytearray(b"\0\1"), memoryview(b"\0\1"), "AAE="]
    assert {binary(raw) for raw in same} == {b"\0\1"}
    assert len({value_bytes({"B": raw}) for raw in same}) == 1
    assert value_bytes({"B": "AAE="}) != value_bytes({"S": "AAE="})
    assert value_bytes({"B": "AB=="}) == value_bytes({"B": "AA=="}) == value_bytes({"B": b"\0"})
    assert value_bytes({"BS": ["AAE=", "/w=="]}) == value_bytes({"BS": [b"\xff", b"\0\1"]})
    with pytest.raises(ValueError, match=r"base64|padding"):
        binary("AAE")


def test_numbers_out_of_any_range_are_not_written_out() -> None:
    assert number("1E999999") == "1e999999"
    assert number("-120E-999999") == "-12e-999998"
    assert number("1E999999") != number("1E999998")
    with pytest.raises(ValueError, match="finite"):
        number("NaN")


def test_what_is_not_typed_is_refused() -> None:
    with pytest.raises(TypeError, match=r"not a typed value: \['Q'\]"):
        value_bytes({"Q": b"1"})
