"""Contracts, purity and what is said about an item that fails."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from fearless.data.items import Item
from fearless.data.tables import TableInfo
from fearless.data.transform import Impure, Pipeline, redact
from fearless.errors import FearlessError
from fearless.interfaces import Transform

INFO = TableInfo("t", "i", "a", None, None, ("id",), {"id": "S"}, 0, 0)
ITEM = {"id": {"S": "a"}, "mail": {"S": "ann@example.com"}, "age": {"N": "41"}}


def run(up: Any, kind: Any = "keep-key", owner: Any = None) -> Any:
    return Pipeline("t", INFO, [Transform("it", ("t",), up, kind, owner)])(dict(ITEM))


def test_no_transforms_copy_the_item() -> None:
    outcome = Pipeline("t", INFO, [])(ITEM)
    assert list(outcome.outputs.values()) == [ITEM]
    other = Pipeline("t", INFO, [Transform("x", ("other",), lambda item: None)])
    assert list(other(ITEM).outputs.values()) == [ITEM]


def test_several_run_in_order() -> None:
    def first(item: Item) -> Item:
        item["n"] = 1
        return item

    def second(item: Item) -> Item:
        item["n"] = item["n"] + 1
        return item

    pipeline = Pipeline("t", INFO, [Transform("1", ("t",), first), Transform("2", ("t",), second)])
    (output,) = pipeline(ITEM).outputs.values()
    assert output["n"] == {"N": "2"}
    assert "n" not in ITEM


def test_dropping() -> None:
    outcome = run(lambda item: None)
    assert not outcome.outputs
    assert outcome.failure is None


@pytest.mark.parametrize(
    ("up", "kind", "owner", "message"),
    [
        (lambda i: [i, i], "keep-key", None, "returned several items"),
        (lambda i: Item.of({"id": "b"}), "keep-key", None, "changed the key"),
        (lambda i: Item.of({"x": "b"}), "keep-key", None, "key attribute 'id' missing"),
        (lambda i: 5, "keep-key", None, "returned a int"),
        (lambda i: [None], "owned", lambda k: k, "list holding a NoneType"),
        (lambda i: [Item.of({"id": "b"})], "owned", lambda k: k, "is not the key of the source"),
    ],
)
def test_contracts(up: Any, kind: Any, owner: Any, message: str) -> None:
    failure = run(up, kind, owner).failure
    assert failure.error == "Contract"
    assert message in failure.message
    assert failure.transform == "it"


def test_the_owner_sees_the_key_alone() -> None:
    def owner(key: Item) -> Item:
        return Item.of({"id": key["parent"]})

    failure = run(lambda i: [Item.of({"id": "b", "parent": "a"})], "owned", owner).failure
    assert failure.error == "KeyError"
    assert failure.message == "'parent'"


def test_owned_needs_an_owner() -> None:
    with pytest.raises(FearlessError, match="'it' is of kind 'owned' but has no owner function"):
        run(lambda i: i, "owned")


def test_two_outputs_with_one_key() -> None:
    failure = run(lambda i: [i, i.copy()], "owned", lambda k: k).failure
    assert failure.message == "two outputs with one key"


def test_rules_of_the_table() -> None:
    def up(item: Item) -> Item:
        item.typed["n"] = {"N": "1" * 39}
        return item

    assert run(up).failure.error == "invalid:number over 38 digits"


def test_impure_is_noticed() -> None:
    ticks = itertools.count()

    def up(item: Item) -> Item:
        item["n"] = next(ticks)
        return item

    pipeline = Pipeline("t", INFO, [Transform("it", ("t",), up)])
    with pytest.raises(Impure, match=r"\(it\) gave two answers for one item"):
        pipeline.check_pure(ITEM, pipeline(ITEM))


def test_a_failure_says_where_but_no_values() -> None:
    def up(item: Item) -> Item:
        raise ValueError(f"bad mail {item['mail']} of {item['mail'].upper()!r} aged {item['age']}")

    failure = run(up).failure
    assert failure.message == "bad mail … of '…' aged …"
    assert failure.where.startswith("test_transform.py:")
    assert "ann" not in str(failure).lower()


def test_redacting_keeps_names() -> None:
    assert redact("no 'mail' in 'xyz'", ITEM) == "no 'mail' in '…'"
    assert redact("41 is not 410", ITEM) == "… is not 410"


def test_binary_is_redacted_in_both_spellings() -> None:
    for raw in (b"secret\0", "c2VjcmV0AA=="):
        item = {"b": {"B": raw}, "s": {"BS": [raw]}, "l": {"L": [{"M": {"x": {"B": raw}}}]}}
        assert redact(r"c2VjcmV0AA== secret\x00 is bad", item) == "… … is bad"


def test_redacting_a_large_item_is_quick() -> None:
    item = {"l": {"L": [{"S": f"text {n}"} for n in range(5_000)]}}
    assert redact(f"text 7 is not {'text 1999 ' * 30}", item).startswith("… is not … … …")


def test_the_owner_chain() -> None:
    def up(item: Item) -> list[Item]:
        return [item, Item.of({"id": f"{item['id']}/1"})]

    def owner(key: Item) -> Item:
        return Item.of({"id": key["id"].rpartition("/")[0] or key["id"]})

    split = Transform("split", ("t",), up, "owned", owner)
    pipeline = Pipeline("t", INFO, [split, split])
    assert pipeline.owner({"id": {"S": "a/1/1"}}) == {"id": {"S": "a"}}
    keep = Pipeline("t", INFO, [])
    assert keep.owner({"id": {"S": "a"}, "x": {"S": "y"}}) == {"id": {"S": "a"}}
