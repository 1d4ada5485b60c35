"""A page read in pieces is the page: whatever its items hold, however its JSON is spaced."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import orjson
import pytest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from fearless.data.pieces import PIECE, TRIES, Pieces, Whole
from fearless.data.wire import Wire
from fearless.errors import FearlessError
from tests.data.strategies import few_items, items
from tests.data.stub_server import checked, serving


class Odd(Exception):
    """What is wrong with an answer."""


def page(found: list[Any], **rest: Any) -> dict[str, Any]:
    return {"Items": found, "Count": len(found), "ScannedCount": len(found), **rest}


def pieces(body: bytes, least: int) -> tuple[list[list[Any]], dict[str, Any]]:
    read = Pieces(body, {"known": True}, Odd, least)
    found = list(read)
    return found, dict(read.rest)


ODD = [
    {"L": [{"M": {"Items": {"L": []}}}, {"M": {"a": {"S": "b"}}}]},
    {"L": [{"L": [{"S": "]"}]}, {"M": {}}, {"M": {}}]},
    {"S": '},{"'},
    {"S": '"Items":[{"'},
    {"S": "\\"},
    {"M": {"},{": {"S": "["}, '"Items":[{': {"NULL": True}}},
]
odd_items = st.dictionaries(st.sampled_from(["a", '},{"', "Items", "["]), st.sampled_from(ODD))
SPACING = [(",", ":"), (", ", ": "), (" ,\n", " :\t")]


@given(
    st.lists(st.one_of(items, few_items, odd_items), max_size=12),
    st.integers(0, 60),
    st.sampled_from(SPACING),
    st.booleans(),
)
def test_the_pieces_are_the_page(
    found: list[Any], least: int, spacing: tuple[str, str], last: bool
) -> None:
    rest = {"LastEvaluatedKey": {"Items": {"S": '"Items":[{"'}}} if last else {}
    whole = orjson.loads(orjson.dumps(page(found, **rest), default=bytes.hex))
    for order in (whole, dict(reversed(whole.items()))):
        body = json.dumps(order, separators=spacing, ensure_ascii=False).encode()
        parts, said = pieces(body, least)
        assert list(chain.from_iterable(parts)) == whole["Items"]
        assert said == {**{k: v for k, v in whole.items() if k != "Items"}, "known": True}


def test_pieces_are_of_the_size_that_was_asked_for() -> None:
    found = [{"pk": {"S": f"key-{n:04d}"}, "tags": {"SS": ["a", "b"]}} for n in range(1000)]
    body = orjson.dumps(page(found))
    parts, _ = pieces(body, 1000)
    assert {len(orjson.dumps(part)) // 100 for part in parts[:-1]} == {10}


def test_maps_in_lists_are_no_ends_of_pieces() -> None:
    """Each item has many places that look like its end; more than are looked at, and it is one."""
    few = [{"pk": {"N": str(n)}, "list": {"L": [{"M": {"a": {"N": "1"}}}] * 3}} for n in range(99)]
    parts, _ = pieces(orjson.dumps(page(few)), 500)
    assert len(parts) > 10
    many = [{"list": {"L": [{"M": {"a": {"N": "1"}}}] * 10 * TRIES}} for _ in range(3)]
    parts, _ = pieces(orjson.dumps(page(many)), 100)
    assert parts == [many]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"Items":[{"a":{"S":"b"}},{"a":', "not what a Scan answers"),
        (b'{"Count":2,"Items":[{"a":{"S":"b"}},{"a":{"S":"c"}}', "not what a Scan answers"),
        (b'{"Items":[{"a":{"S":"b"}}],"Count":2}', "it has 1 items and says 2"),
        (b'{"Count":1}', "not what a Scan answers"),
        (b"[]", "not what a Scan answers"),
        (b"<html>", "not what a Scan answers"),
    ],
)
def test_what_no_scan_answers_is_said(body: bytes, problem: str) -> None:
    for least in (0, 1000):
        with pytest.raises(Odd, match=problem):
            pieces(body, least)


def wire_to(url: str) -> Wire:
    return Wire("dynamodb", url, "us-east-1", Credentials("AKID", "secret", None))


def test_a_long_answer_comes_in_pieces_and_a_short_one_whole() -> None:
    found = [{"pk": {"S": f"{n:0100d}"}} for n in range(PIECE // 40)]
    for count, kind, parts in ((len(found), Pieces, 2), (5, Whole, 1)):
        body = orjson.dumps(page(found[:count]))
        with serving(lambda *_, body=body: checked(body)) as stub:
            answer = wire_to(stub.url).scan_in_pieces(TableName="t", Limit=3)
            assert isinstance(answer, kind)
            read = list(answer)
            assert len(read) >= parts
            assert list(chain.from_iterable(read)) == found[:count]
            assert answer.rest["Count"] == count
            assert answer.rest["ResponseMetadata"]["HTTPStatusCode"] == 200
            assert b'"Limit":3' in stub.requests[0].body


def test_a_long_answer_that_is_none_is_one_clear_line() -> None:
    body = b"{" + b" " * 3 * PIECE + b"}"
    with serving(lambda *_: checked(body)) as stub:
        answer = wire_to(stub.url).scan_in_pieces(TableName="t")
        with pytest.raises(FearlessError, match=r"reading: Unusable answer from .*not what a Scan"):
            list(answer)
