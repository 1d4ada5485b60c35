"""The short way for keep-key transforms gives what the careful way gives, for good and for bad."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fearless.data.items import Item
from fearless.data.outcome import Outcome, Page
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.interfaces import Transform
from tests.data.strategies import few_values

SOURCE = TableInfo("s", "i", "a", None, None, ("id", "n"), {"id": "S", "n": "N", "by": "S"}, 0, 0)
TYPES = {"id": "S", "n": "N", "by": "S", "at": "N"}
TARGET = TableInfo("t", "i", "a", None, None, ("id", "n"), TYPES, 0, 0, {"by": 1024})


def typed(name: str, value: Any) -> Callable[[Item], Item]:
    """Set an attribute behind the item's back."""

    def up(item: Item) -> Item:
        item.typed[name] = value
        return item

    return up


def put(name: str, value: Any) -> Callable[[Item], Item]:
    def up(item: Item) -> Item:
        item[name] = value
        return item

    return up


def rename(old: str, new: str) -> Callable[[Item], Item]:
    def up(item: Item) -> Item:
        if old in item:
            item.rename(old, new)
        return item

    return up


def remove(name: str) -> Callable[[Item], Item]:
    def up(item: Item) -> Item:
        item.pop(name, None)
        return item

    return up


def reread(item: Item) -> Item:
    for name in item:
        item[name] = item[name]
    return item


def boom(item: Item) -> Item:
    raise ValueError(f"cannot migrate {item['id']}")


UPS: dict[str, Callable[[Item], Any]] = {
    "same": lambda item: item,
    "copy": lambda item: item.copy(),
    "drop": lambda item: None,
    "drop as a list": lambda item: [],
    "a list": lambda item: [item],
    "a generator": lambda item: (each for each in [item]),
    "two": lambda item: [item, item],
    "a dict": lambda item: dict(item),
    "reread": reread,
    "rename": rename("a", "b"),
    "rename to an index key": rename("a", "by"),
    "rename a key": rename("id", "key"),
    "remove": remove("a"),
    "remove a key": remove("n"),
    "boom": boom,
    "rubbish": lambda item: 5,
    "rubbish list": lambda item: [item, None],
    "text": lambda item: "item",
    "another key": put("id", "another"),
    "a key of another type": put("n", "1"),
    "the key spelled otherwise": lambda item: typed("n", {"N": f"{item['n']}.0"})(item),
    "no typed key": typed("id", 5),
    "float": put("a", 1.5),
    "empty set": put("a", set()),
    "typed empty set": typed("a", {"SS": []}),
    "39 digits": typed("a", {"N": "1" * 39}),
    "out of range": put("a", 10**126),
    "not typed": typed("a", {"Q": 1}),
    "true is not 1": typed("a", {"BOOL": 1}),
    "oversize": put("a", "x" * 409_600),
    "nearly oversize": put("a", "x" * 409_000),
    "oversize by names": put("x" * 65_535, "x" * 344_065),
    "empty name": put("", 1),
    "not unicode": put("a", "\ud800"),
    "bytes": put("a", b"\0\1"),
    "base64": typed("a", {"B": "AAE="}),
    "not base64": typed("a", {"B": "AAE"}),
    "index key": put("by", "somebody"),
    "index key of another type": put("by", 1),
    "empty index key": put("by", ""),
    "long index key": put("by", "x" * 1025),
    "new index key": put("at", 1),
    "new index key of another type": put("at", "1"),
    "deep": typed("a", {"L": [{"M": {"b": {"L": [{"NS": ["1", "1.0"]}]}}}]}),
}


def expected(pipeline: Pipeline, items: list[Any]) -> Page:
    page = Page([])
    for item in items:
        outcome: Outcome = pipeline._carefully(item)
        if outcome.failure:
            page.failures.append((item, outcome.failure))
        elif not outcome.outputs:
            page.dropped += 1
        else:
            (output,) = outcome.outputs.values()
            page.puts.append(output)
            page.changed += output != item
    return page


names = st.sampled_from(["a", "b", "key", "at", "by"])
sources = st.builds(
    lambda more, text, n, by: {
        **more,
        "id": {"S": text},
        "n": {"N": str(n)},
        **({"by": {"S": by}} if by else {}),
    },
    st.dictionaries(names, few_values, max_size=3),
    st.text(min_size=1, max_size=3),
    st.integers(0, 2),
    st.sampled_from(["", "x", "y" * 1025]),
)


def check(pipeline: Pipeline, items: list[Any]) -> None:
    before = [dict(item) for item in items]
    page, wanted = pipeline.page(items), expected(pipeline, items)
    assert page == wanted
    assert all(type(a) is type(b) for a, b in zip(page.puts, wanted.puts, strict=True))
    assert len(page.puts) + page.dropped + len(page.failures) == len(items)
    for item in items:
        careful = pipeline._carefully(item)
        assert pipeline(item) == careful
        assert list(pipeline(item).outputs) == list(careful.outputs)
    assert items == before


@settings(max_examples=300)
@given(st.lists(st.sampled_from(sorted(UPS)), max_size=3), st.lists(sources, max_size=2))
def test_both_ways_agree(chain: list[str], items: list[Any]) -> None:
    transforms = [Transform(name, ("t",), UPS[name]) for name in chain]
    items = [{**item, "by": {"S": "x"}} if "by" in item else item for item in items]
    check(Pipeline("t", TARGET, transforms, SOURCE), items)


@pytest.mark.parametrize("name", sorted(UPS))
def test_both_ways_agree_on_each_alone(name: str) -> None:
    item = {"id": {"S": "k"}, "n": {"N": "1"}, "a": {"S": "A"}, "by": {"S": "x"}}
    large = {**item, "at": {"N": "1"}, "c": {"B": b64encode(b"x" * 300_000).decode()}}
    check(Pipeline("t", TARGET, [Transform(name, ("t",), UPS[name])], SOURCE), [item, large])


@given(st.lists(sources, max_size=3))
def test_an_untouched_table_is_looked_at_for_new_index_keys_only(items: list[Any]) -> None:
    check(Pipeline("t", TARGET, [], SOURCE), items)
    items = [{**item, "by": {"S": "x"}} for item in items]
    alike = Pipeline("t", SOURCE, [Transform("other", ("u",), boom)], SOURCE)
    assert alike.plain
    assert alike.page(items).puts is items


def test_keys_that_are_renamed() -> None:
    target = TableInfo("t", "i", "a", None, None, ("key", "n"), {"key": "S", "n": "N"}, 0, 0)
    item = {"id": {"S": "k"}, "n": {"N": "1"}}
    pipeline = Pipeline("t", target, [Transform("it", ("t",), rename("id", "key"))], SOURCE)
    assert pipeline.page([item]).puts == [{"key": {"S": "k"}, "n": {"N": "1"}}]
    assert pipeline.owner({"key": {"S": "k"}, "n": {"N": "1"}, "x": {"S": "y"}}) == item
    assert pipeline.one_way.endswith("the key attributes have other names in the new table")
    (_, failure) = Pipeline("t", target, [], SOURCE).page([item]).failures[0]
    assert str(failure) == "copy: invalid:key attribute 'key' missing: DynamoDB refuses it"


def test_pages_are_for_keep_key_transforms() -> None:
    owned = Transform("it", ("t",), lambda item: item, "owned", lambda key: key)
    with pytest.raises(ValueError, match="table t: pages are for keep-key transforms only"):
        Pipeline("t", TARGET, [owned], SOURCE).page([])
