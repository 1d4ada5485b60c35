"""Items, digests and the validator: exact for every value DynamoDB can hold."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fearless.data.canonical import digest, item_bytes, number
from fearless.data.digests import of_items
from fearless.data.items import Item, decode, encode
from fearless.data.tables import TableInfo, show
from fearless.data.validate import Invalid, check, size

digits = st.integers(-(10**38) + 1, 10**38 - 1)
numbers = st.builds(lambda n, e: str(Decimal(n).scaleb(e)), digits, st.integers(-80, 80)).filter(
    lambda text: Decimal(text) == 0 or -130 <= Decimal(text).adjusted() <= 125
)
scalars = st.one_of(
    st.text(max_size=8).map(lambda s: {"S": s}),
    st.binary(max_size=8).map(lambda b: {"B": b}),
    numbers.map(lambda n: {"N": n}),
    st.booleans().map(lambda b: {"BOOL": b}),
    st.just({"NULL": True}),
    st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True).map(lambda s: {"SS": s}),
    st.lists(st.binary(max_size=4), min_size=1, max_size=4, unique=True).map(lambda s: {"BS": s}),
    st.lists(numbers, min_size=1, max_size=4, unique_by=number).map(lambda s: {"NS": s}),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: {"L": v}),
        st.dictionaries(st.text(max_size=4), inner, max_size=3).map(lambda v: {"M": v}),
    ),
    max_leaves=8,
)
items = st.dictionaries(st.text(min_size=1, max_size=5), values, max_size=5)
INFO = TableInfo("t", "i", "a", None, None, ("id",), {"id": "S", "by": "N"}, 0, 0)


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


@given(st.lists(items, max_size=6), st.randoms(use_true_random=False))
def test_digests_do_not_depend_on_order(found: list[Any], rng: random.Random) -> None:
    keyed = [{**item, "id": {"S": f"k{n}"}} for n, item in enumerate(found)]
    first = of_items(INFO, keyed, 8)
    mixed = [dict(rng.sample(list(item.items()), len(item))) for item in keyed]
    rng.shuffle(mixed)
    assert not first.unequal(of_items(INFO, mixed, 8))
    if keyed:
        changed = [*keyed[1:], {**keyed[0], "more": {"NULL": True}}]
        assert first.unequal(of_items(INFO, changed, 8))
        assert first.unequal(of_items(INFO, keyed[1:], 8))


def test_equal_items_do_not_cancel_out() -> None:
    item = {"id": {"S": "a"}}
    assert of_items(INFO, [], 4).unequal(of_items(INFO, [item, item], 4))


@given(values, values)
def test_different_values_differ(a: dict[str, Any], b: dict[str, Any]) -> None:
    same = item_bytes({"x": a}) == item_bytes({"x": b})
    assert same == (digest({"x": a}) == digest({"x": b}))
    if decode(a) != decode(b):
        assert not same


@settings(max_examples=60)
@given(items)
def test_valid_items_pass(typed: dict[str, Any]) -> None:
    typed.pop("by", None)
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
    ],
)
def test_rules(item: dict[str, Any], rule: str) -> None:
    with pytest.raises(Invalid) as caught:
        check(item, INFO)
    assert str(caught.value) == rule


def test_limits_themselves_are_allowed() -> None:
    check({"id": {"S": "x" * 2048}, "v": nested(32), "n": {"N": "9" * 38}}, INFO)
    assert size({"ab": {"S": "é"}, "n": {"N": "123"}}) == 2 + 2 + 1 + 3


def test_a_key_for_people() -> None:
    assert show({"store": {"S": "s1"}, "n": {"N": "7"}, "b": {"B": b"\0"}}) == (
        "store='s1', n=7, b=b'\\x00'"
    )
