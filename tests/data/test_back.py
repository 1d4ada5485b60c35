"""The way back: `down` undoes `up`, keeps what the old release had, and spoils nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.data.items import Item
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from fearless.interfaces import Transform

INFO = TableInfo("t", "i", "a", None, None, ("id", "at"), {"id": "S", "at": "S"}, 0, 0)


def rename_up(item: Item) -> Item | None:
    """Rename, forget a remark, and drop what is a cart."""
    if item["at"].startswith("cart"):
        return None
    item.rename("mail", "email")
    item.pop("remark", None)
    return item


def rename_down(item: Item, old: Item | None) -> Item:
    item.rename("email", "mail")
    if old is not None and "remark" in old:
        item["remark"] = old["remark"]
    return item


def split_up(item: Item) -> list[Item]:
    lines = item.pop("lines")
    key = {"id": item["id"]}
    made = [Item.of({**key, "at": f"{item['at']}#{n:03d}", "text": t}) for n, t in enumerate(lines)]
    return [item, *made]


def split_owner(key: Item) -> Item:
    return Item.of({"id": key["id"], "at": key["at"].partition("#")[0]})


def split_down(items: list[Item], old: Item | None) -> Item | None:
    whole = next((item for item in items if "#" not in item["at"]), None)
    if whole is not None:
        whole["lines"] = [item["text"] for item in items if "#" in item["at"]]
    return whole


def count_up(item: Item) -> Item:
    if "text" in item:
        item["length"] = len(item["text"])
    return item


def count_down(item: Item, old: Item | None) -> Item:
    item.pop("length", None)
    return item


RENAME = Transform("rename", ("t",), rename_up, down=rename_down)
SPLIT = Transform(
    "split",
    ("t",),
    split_up,
    "owned",
    owner=split_owner,
    down=split_down,
    prefix=lambda key: key["at"],
)
COUNT = Transform("count", ("t",), count_up, down=count_down)
CHAIN = Pipeline("t", INFO, [RENAME, SPLIT, COUNT])
RENAMED = Pipeline("t", INFO, [RENAME])


def order(**more: Any) -> dict[str, Any]:
    values = {"id": "a", "at": "o1", "mail": "ann@x", "lines": ["one", "two"], "remark": "!"}
    return Item.of({**values, **more}).typed


def up(pipeline: Pipeline, item: Any) -> list[Any]:
    outcome = pipeline(item)
    assert outcome.failure is None
    return list(outcome.outputs.values())


def back(pipeline: Pipeline, members: list[Any], old: Any) -> Any:
    outcome = pipeline.back(members, old)
    assert outcome.failure is None
    assert len(outcome.outputs) <= 1
    for key_id, item in outcome.outputs.items():
        assert key_id == INFO.key_id(item)
        return Item(item)
    return None


words = st.lists(st.text(max_size=3), max_size=12)


@given(words, st.text(max_size=3), st.sampled_from(["o1", "o2", "cart1"]))
def test_round_trips(lines: list[str], remark: str, at: str) -> None:
    item = order(lines=lines, remark=remark, at=at)
    assert CHAIN.one_way == ""
    outcome = CHAIN(item)
    assert len(outcome.outputs) == (0 if at == "cart1" else 1 + len(lines))
    assert CHAIN.round_trip(item, outcome)
    assert back(CHAIN, list(outcome.outputs.values()), item) == Item(item)


def test_what_the_new_release_wrote_comes_back_with_what_only_the_old_one_has() -> None:
    members = [Item(item) for item in up(CHAIN, order())]
    for member in members:
        if member["at"] == "o1":
            member["email"] = "zoe@x"
    more = Item.of({"id": "a", "at": "o1#007", "text": "three", "length": 5})
    typed = [item.typed for item in (more, *reversed(members))]
    came = back(CHAIN, typed, order())
    assert came == Item(order(mail="zoe@x", lines=["one", "two", "three"]))
    fresh = back(CHAIN, typed, None)
    assert "remark" not in fresh
    assert fresh["lines"] == ["one", "two", "three"]


@given(words, words, st.booleans())
def test_whatever_the_new_release_wrote_the_old_one_reads(
    lines: list[str], before: list[str], known: bool
) -> None:
    members = up(CHAIN, order(lines=lines, mail="new@x", remark="?"))
    old = order(lines=before) if known else None
    expected = Item(order(lines=lines, mail="new@x"))
    if not known:
        del expected["remark"]
    came = back(CHAIN, members, old)
    assert came == expected
    assert [Item(item) for item in up(CHAIN, came.typed)] == [Item(item) for item in members]


def test_what_the_new_release_deleted_is_gone() -> None:
    assert back(CHAIN, [], order()) is None
    assert back(CHAIN, [], None) is None
    assert back(RENAMED, [], order()) is None
    lines = [item for item in up(CHAIN, order()) if "text" in item]
    assert back(CHAIN, lines, order()) is None


def test_what_was_never_migrated_stays() -> None:
    cart = order(at="cart1")
    assert back(CHAIN, [], cart) == Item(cart)
    broken = Item(order())
    del broken["lines"]
    assert CHAIN(broken.typed).failure is not None
    assert back(CHAIN, [], broken.typed) == broken
    assert CHAIN.round_trip(broken.typed, CHAIN(broken.typed))
    del broken["mail"]
    assert back(CHAIN, [], broken.typed) == broken


def test_a_dropped_item_gives_way_to_a_new_one_of_its_key() -> None:
    cart = order(at="cart1")
    new = Item.of({"id": "a", "at": "cart1", "email": "x"}).typed
    assert back(RENAMED, [new], cart) == {"id": "a", "at": "cart1", "mail": "x", "remark": "!"}


def test_an_untouched_table_needs_no_down() -> None:
    plain = Pipeline("t", INFO, [])
    assert plain.one_way == ""
    assert back(plain, [order()], order(remark="?")) == Item(order())
    assert back(plain, [], order()) is None
    assert plain.prefix(order()) is None


def test_prefixes() -> None:
    assert CHAIN.prefix(order()) == "o1"
    assert RENAMED.prefix(order()) is None
    assert Pipeline("t", INFO, [SPLIT, SPLIT]).prefix(order()) is None
    broken = Transform(
        "it", ("t",), split_up, "owned", split_owner, split_down, prefix=lambda key: key["x"]
    )
    assert Pipeline("t", INFO, [broken]).prefix(order()) is None


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({}, "it has no down function"),
        ({"irreversible": "the mails are gone"}, "it: the mails are gone"),
        (
            {"kind": "transferable", "owner_attribute": "of"},
            "it: there is no way back from a transferable transform",
        ),
    ],
)
def test_one_way(parts: Any, why: str) -> None:
    pipeline = Pipeline("t", INFO, [RENAME, Transform("it", ("t",), count_up, **parts)])
    assert pipeline.one_way == why
    failure = pipeline.back([order()], None).failure
    assert failure is not None
    assert (failure.error, failure.message) == ("OneWay", why)
    assert not pipeline.round_trip(order(), pipeline(order()))


def test_a_lossy_down_is_found_by_the_round_trip() -> None:
    def forgetful(item: Item, old: Item | None) -> Item:
        return Item.of({"id": item["id"], "at": item["at"], "mail": item["email"]})

    pipeline = Pipeline("t", INFO, [Transform("it", ("t",), rename_up, down=forgetful)])
    assert not pipeline.round_trip(order(), pipeline(order()))
    bare = Item.of({"id": "a", "at": "o1", "mail": "m"}).typed
    assert pipeline.round_trip(bare, pipeline(bare))


@pytest.mark.parametrize(
    ("down", "error", "message"),
    [
        (lambda item, old: 1 / 0, "ZeroDivisionError", "division by zero"),
        (lambda item, old: item["nope"], "KeyError", "'nope'"),
        (lambda item, old: [item, item], "Contract", "down() returned several items"),
        (lambda item, old: 5, "Contract", "down() returned a int, not items or None"),
        (
            lambda item, old: Item.of({"id": "b", "at": "1"}),
            "Contract",
            "down() returned an item with another key",
        ),
        (lambda item, old: Item.of({"id": "a"}), "Contract", "key attribute 'at' missing"),
        (
            lambda item, old: Item({**item.typed, "n": {"N": "1" * 39}}),
            "invalid:number over 38 digits",
            "DynamoDB refuses it",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["keep-key", "owned"])
def test_a_down_that_fails(kind: Any, down: Any, error: str, message: str) -> None:
    if kind == "owned":
        transform = Transform(
            "it", ("t",), count_up, kind, owner=lambda key: key, down=lambda i, o: down(i[0], o)
        )
    else:
        transform = Transform("it", ("t",), count_up, kind, down=down)
    failure = Pipeline("t", INFO, [transform]).back([order()], order()).failure
    assert failure is not None
    assert (failure.transform, failure.error, failure.message) == ("it", error, message)


def test_a_failing_down_says_where_but_no_values() -> None:
    def down(item: Item, old: Item | None) -> Item:
        raise ValueError(f"{item['mail']} was {old['mail'] if old else None}")

    pipeline = Pipeline("t", INFO, [Transform("it", ("t",), count_up, down=down)])
    failure = pipeline.back([order(mail="zoe@x")], order()).failure
    assert failure is not None
    assert failure.message == "… was …"
    assert failure.where.startswith("test_back.py:")


def test_items_of_several_owners_are_not_mixed() -> None:
    members = up(CHAIN, order()) + up(CHAIN, order(at="o2"))
    for pipeline in (CHAIN, Pipeline("t", INFO, [])):
        failure = pipeline.back(members, order()).failure
        assert failure is not None
        assert failure.message == "the items belong to several items of the old table"
    other = CHAIN.back(up(CHAIN, order(at="o2")), order(at="cart1"))
    assert other.failure is not None


def test_downs_get_copies() -> None:
    def spoil(items: list[Item], old: Item | None) -> Item | None:
        for item in (*items, *([old] if old is not None else [])):
            item["spoilt"] = True
        return items[0]

    split = Transform("it", ("t",), count_up, "owned", owner=lambda key: key, down=spoil)
    members, old = [order()], order()
    assert back(Pipeline("t", INFO, [split]), members, old)["spoilt"] is True
    assert members == [order()]
    assert old == order()
