"""One item changed on condition that it is what it was."""

from __future__ import annotations

import pytest

from fearless.data.patch import Conflict, update

KEY = {"pk": {"S": "k"}}


def item(**values: str) -> dict[str, dict[str, str]]:
    return {**KEY, **{name: {"S": value} for name, value in values.items()}}


def test_nothing_to_do() -> None:
    assert update(KEY, None, None) is None
    assert update(KEY, item(a="1"), item(a="1")) is None
    assert update(KEY, {**KEY, "n": {"N": "1"}}, {**KEY, "n": {"N": "1.0"}}) is None


def test_a_new_one_is_put_where_there_is_none() -> None:
    assert update(KEY, None, item(a="1")) == (
        "put",
        {
            "Item": item(a="1"),
            "ConditionExpression": "attribute_not_exists(#k)",
            "ExpressionAttributeNames": {"#k": "pk"},
        },
    )


def test_only_what_differs_is_written_and_everything_is_compared() -> None:
    assert update(KEY, item(a="1", b="1", c="1"), item(a="2", b="1", d="1")) == (
        "update",
        {
            "Key": KEY,
            "ConditionExpression": "attribute_exists(#k) AND #0 = :o0 AND #1 = :o1 AND #2 = :o2 "
            "AND attribute_not_exists(#3)",
            "ExpressionAttributeNames": {"#0": "a", "#1": "b", "#2": "c", "#3": "d", "#k": "pk"},
            "ExpressionAttributeValues": {
                ":o0": {"S": "1"},
                ":n0": {"S": "2"},
                ":o1": {"S": "1"},
                ":o2": {"S": "1"},
                ":n3": {"S": "1"},
            },
            "UpdateExpression": "SET #0 = :n0, #3 = :n3 REMOVE #2",
        },
    )


def test_a_deletion() -> None:
    assert update(KEY, item(a="1"), None) == (
        "delete",
        {
            "Key": KEY,
            "ConditionExpression": "attribute_exists(#k) AND #0 = :o0",
            "ExpressionAttributeNames": {"#0": "a", "#k": "pk"},
            "ExpressionAttributeValues": {":o0": {"S": "1"}},
        },
    )
    assert update(KEY, item(), None) == (
        "delete",
        {
            "Key": KEY,
            "ConditionExpression": "attribute_exists(#k)",
            "ExpressionAttributeNames": {"#k": "pk"},
        },
    )


def test_an_item_too_wide_to_compare() -> None:
    wide = item(**{f"a{n}": "1" for n in range(101)})
    with pytest.raises(Conflict, match="more than 100 attributes"):
        update(KEY, wide, None)
    assert update(KEY, None, wide) is not None
