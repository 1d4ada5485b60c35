"""The dry run on a sample: its report, and that it shows no values unless asked."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given

from fearless.data.difference import Change, describe, differences
from fearless.data.items import Item
from fearless.data.sample import Trial
from fearless.data.sizes import bytes_of, human
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.interfaces import Transform
from tests.data.strategies import items as any_items
from tests.data.test_back import CHAIN, RENAME, RENAMED, SPLIT, order

INFO = TableInfo("t", "i", "a", None, None, ("id", "at"), {"id": "S", "at": "S"}, 0, 0)


def trial(pipeline: Pipeline, *items: Any, **more: Any) -> Trial:
    return Trial("orders", pipeline, **more).run(items)


def test_a_whole_report() -> None:
    broken = Item.of({"id": "a", "at": "o9", "mail": "eve@x"}).typed
    found = trial(CHAIN, order(), order(at="o2"), order(at="cart1"), broken)
    line = "KeyError: 'lines' (test_back.py:"
    assert [text.partition(line)[0] for text in found.lines] == [
        "orders: 4 read, 2 kept (2 changed), 1 dropped, 2 split, 1 failed; 6 items made",
        "  size: 120 bytes before, 138 bytes after (+15%); the largest item has 26 bytes",
        "  way back: every item comes back as it was",
        "  fails: 1 × split: ",
        "  rename: 3 of 4 changed, 1 dropped, 0 split",
        "    for example:",
        "      > mail is now email: S, 5 bytes",
        "      - remark: S, 1 byte",
        "    for example:",
        "      dropped",
        "    for example:",
        "      > mail is now email: S, 5 bytes",
        "  split: 2 of 2 changed, 0 dropped, 2 split",
        "    for example:",
        "      - lines: L of 2",
        "      and another item:",
        "        ~ at: S, 2 bytes -> S, 6 bytes",
        "        - email: S, 5 bytes",
        "        - lines: L of 2",
        "        + text: S, 3 bytes",
        "      and another item:",
        "        ~ at: S, 2 bytes -> S, 6 bytes",
        "        - email: S, 5 bytes",
        "        - lines: L of 2",
        "        + text: S, 3 bytes",
        "  count: 4 of 6 changed, 0 dropped, 0 split",
        "    for example:",
        "      + length: N",
    ]
    assert not found.good


def test_no_values_unless_asked() -> None:
    secret = order(mail="ann@example.com", lines=["secret"])
    hidden, shown = trial(CHAIN, secret), trial(CHAIN, secret, values=True)
    for text in ("ann@example.com", "secret", "o1"):
        assert text not in "\n".join(hidden.lines)
        assert text not in json.dumps(hidden.as_dict())
        assert text in "\n".join(shown.lines)
    assert "    for example id='a', at='o1':" in shown.lines
    assert "      > mail is now email: 'ann@example.com'" in shown.lines
    assert hidden.good


def test_for_programs() -> None:
    facts = trial(RENAMED, order(), order(at="cart1")).as_dict()
    assert json.loads(json.dumps(facts))["transforms"][0]["given"] == 2
    examples = facts["transforms"][0].pop("examples")
    assert examples[0]["outputs"][0][1]["name"] == "remark"
    assert facts == {
        "table": "orders",
        "kind": "keep-key",
        "read": 2,
        "kept": 1,
        "changed": 1,
        "dropped": 1,
        "split": 0,
        "made": 1,
        "failed": 0,
        "not_back": 0,
        "bytes": {"before": 81, "after": 33, "largest": 33},
        "one_way": "",
        "failures": [],
        "transforms": [{"name": "rename", "given": 2, "changed": 1, "dropped": 1, "split": 0}],
    }
    sample = trial(RENAMED, order()).sample
    assert (sample.table, sample.read, sample.failed, sample.not_back) == ("orders", 1, 0, 0)
    assert sample.lines == tuple(trial(RENAMED, order()).lines)
    assert sample.facts["kept"] == 1


def test_failures_are_counted_by_what_and_where() -> None:
    def up(item: Item) -> Any:
        match item["n"]:
            case 0:
                return [item, item]
            case 1:
                item["v"] = "x" * 409_600
                return item
        return item

    pipeline = Pipeline("t", INFO, [Transform("it", ("t",), up)])
    items = [Item.of({"id": "a", "at": str(n), "n": n % 3}).typed for n in range(7)]
    found = trial(pipeline, *items)
    assert found.lines[3:5] == [
        "  fails: 3 × it: Contract: a keep-key transform returned several items (use kind='owned')",
        "  fails: 2 × it: invalid:item over 400 KB: DynamoDB refuses it",
    ]
    assert (found.failed, found.kept, found.changed, found.read) == (5, 2, 0, 7)
    assert found.lines[2] == "  way back: none (it has no down function)"


def test_an_impure_transform_is_a_failure() -> None:
    ticks = itertools.count()

    def up(item: Item) -> Item:
        item["n"] = next(ticks)
        return item

    found = trial(Pipeline("t", INFO, [Transform("it", ("t",), up)]), order())
    assert found.lines[3] == "  fails: 1 × it: Impure: two answers for one item"


def test_what_does_not_come_back() -> None:
    def forget(item: Item, old: Item | None) -> Item:
        return item

    pipeline = Pipeline("t", INFO, [Transform("it", ("t",), lambda i: i, down=forget), RENAME])
    assert trial(pipeline, order()).not_back == 0
    lossy = Transform("it", ("t",), RENAME.up, down=forget)
    found = trial(Pipeline("t", INFO, [lossy]), order(), order(at="cart1"))
    assert found.not_back == 1
    assert found.lines[2] == "  way back: 1 of 2 items do not come back as they were"
    assert not found.good


def test_nothing_read() -> None:
    assert trial(RENAMED).lines[:2] == [
        "orders: 0 read, 0 kept (0 changed), 0 dropped, 0 split, 0 failed; 0 items made",
        "  size: 0 bytes before, 0 bytes after; the largest item has 0 bytes",
    ]


def test_three_examples_of_different_kinds() -> None:
    def up(item: Item) -> Item:
        for n in range(int(item["n"])):
            item[f"new{n:02d}"] = n
        return item

    pipeline = Pipeline("t", INFO, [Transform("it", ("t",), up)])
    items = [Item.of({"id": "a", "at": str(n), "n": n // 2}).typed for n in range(40)]
    (stage,) = trial(pipeline, *items).stages
    assert [len(example.outputs[0]) for example in stage.examples] == [1, 2, 3]
    (stage,) = trial(pipeline, items[39]).stages
    assert stage.examples[0].lines[-1] == "  … and 7 more"
    (stage,) = trial(Pipeline("t", INFO, [SPLIT]), order(lines=["x"] * 9)).stages
    assert stage.examples[0].lines[-1] == "… and 7 more items"


def test_groups() -> None:
    def merge(items: list[Item]) -> Item:
        return Item.of({"id": items[0]["id"], "at": "sum", "n": len(items)})

    def group(item: Item) -> str:
        return str(item["kind"]) if item["kind"] != "none" else ""

    gather = Transform("gather", ("t",), kind="collection", group=group, merge=merge)
    pipeline = Pipeline("t", INFO, [gather])
    rows = [
        Item.of({"id": "a", "at": str(n), "kind": kind}).typed
        for n, kind in enumerate(["line", "line", "none", "line"])
    ]
    rows.append(Item.of({"id": "a", "at": "9"}).typed)
    found = trial(pipeline, *rows)
    counts = (found.read, found.kept, found.dropped, found.failed, found.made, found.split)
    assert counts == (5, 3, 1, 1, 1, 0)
    assert "KeyError: 'kind'" in found.lines[3]
    assert "no way back from a collection transform" in found.lines[2]
    some = trial(pipeline, rows[0], partition=lambda item: rows)
    assert (some.read, some.kept, some.made) == (1, 3, 1)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": "x"}, {"a": "1"}, ["~ a: N -> S, 1 byte", "- b: S, 1 byte"]),
        (
            {"m": {"a": {"b": 1}, "c": 1}},
            {"m": {"a": {"d": 1}}},
            ["- m.a.b: N", "+ m.a.d: N", "- m.c: N"],
        ),
        (
            {"a": b"xyz", "c": {1, 2}},
            {"b": b"xyz", "c": {1}},
            ["> a is now b: B, 3 bytes", "~ c: NS of 2 -> NS of 1"],
        ),
        ({"a": True, "b": True}, {"c": True}, ["- a: BOOL", "- b: BOOL", "+ c: BOOL"]),
        ({"m": {"x": 1}}, {"m": [1]}, ["~ m: M of 1 -> L of 1"]),
        ({"m": {"mail": "x"}}, {"m": {"email": "x"}}, ["> m.mail is now m.email: S, 1 byte"]),
    ],
)
def test_differences(before: Any, after: Any, expected: list[str]) -> None:
    found = differences(Item.of(before).typed, Item.of(after).typed)
    assert [str(change) for change in found] == expected


@given(any_items, any_items)
def test_differences_are_none_exactly_for_equal_items(one: Any, other: Any) -> None:
    assert (not differences(one, other)) == (Item(one) == Item(other))
    assert not differences(one, dict(one))
    for change in differences(one, other, values=True):
        assert isinstance(change, Change)
        assert str(change)


def test_values_are_cut() -> None:
    assert describe({"S": "x" * 100}, values=True) == "'" + "x" * 58 + "…"
    assert describe({"N": "1.50"}, values=True) == "1.50"
    assert describe({"B": "AAE="}, values=True) == "b'\\x00\\x01'"


def test_sizes_for_people() -> None:
    found = [human(n) for n in (0, 1023, 1536, 5 * 1024**2, 3 * 1024**3)]
    assert found == ["0 bytes", "1,023 bytes", "1.5 KB", "5.0 MB", "3.0 GB"]
    assert bytes_of({"a": {"N": "x"}}) == len('{"a":{"N":"x"}}')
