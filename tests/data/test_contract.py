"""What transforms may be declared, and what each kind is held to, item by item."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from fearless.data.items import Item
from fearless.data.outcome import Failed
from fearless.data.tables import TableInfo
from fearless.data.transform import Impure, Pipeline
from fearless.errors import FearlessError
from fearless.interfaces import Transform

TYPES = {"id": "S", "at": "S", "by": "N"}
INFO = TableInfo("t", "i", "a", None, None, ("id", "at"), TYPES, 0, 0)
ITEM = {"id": {"S": "a"}, "at": {"S": "1"}, "mail": {"S": "ann@example.com"}}


def same(item: Any) -> Any:
    return item


def make(**parts: Any) -> Transform:
    return Transform("it", ("t",), **{"up": same, **parts})


def collection(**parts: Any) -> Transform:
    made: dict[str, Any] = {"group": lambda item: item["at"], "merge": same, **parts}
    return Transform("gather", ("t",), kind="collection", **made)


KEEP, OWNED = make(), make(kind="owned", owner=same)
MOVING = make(kind="transferable", owner_attribute="of")


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (Transform("it", ("t",)), "is of kind 'keep-key' but has no up function: add it"),
        (make(kind="owned"), "is of kind 'owned' but has no owner function: add it"),
        (make(kind="transferable"), "is of kind 'transferable' but has no owner_attribute: add it"),
        (make(kind="collection", up=None), "is of kind 'collection' but has no group function"),
        (collection(merge=None), "is of kind 'collection' but has no merge function: add it"),
        (collection(up=same), "is of kind 'collection', which knows no 'up': remove it"),
        (make(owner=same), "is of kind 'keep-key', which knows no 'owner': remove it"),
        (make(group=same), "is of kind 'keep-key', which knows no 'group': remove it"),
        (make(prefix=same), "is of kind 'keep-key', which knows no 'prefix': remove it"),
        (
            make(kind="transferable", owner_attribute="of", down=same),
            "is of kind 'transferable', which knows no 'down': remove it, or change the kind",
        ),
        (make(kind="many"), "kind is 'many', and must be one of keep-key, owned, transferable"),
        (make(down=same, irreversible="no"), "has both 'down' and 'irreversible'"),
        (make(kind="owned", owner=same, prefix=same), "has a 'prefix' but no 'down'"),
        (
            make(kind="transferable", owner_attribute="by"),
            "owner_attribute 'by' is a key of the table or of an index, and will hold a map",
        ),
    ],
)
def test_declarations_that_make_no_sense(transform: Transform, message: str) -> None:
    with pytest.raises(FearlessError) as caught:
        Pipeline("t", INFO, [transform])
    assert caught.value.args[0].startswith(f"table t: transform {transform.name!r}")
    assert message in str(caught.value)
    assert Pipeline("other", INFO, [transform]).plain


def test_a_prefix_needs_a_range_key_of_text() -> None:
    info = TableInfo("t", "i", "a", None, None, ("id",), {"id": "S"}, 0, 0)
    transform = make(kind="owned", owner=same, down=same, prefix=same)
    with pytest.raises(FearlessError, match="the table has no range key of type S: remove it"):
        Pipeline("t", info, [transform])


@pytest.mark.parametrize(
    ("chain", "kind"),
    [
        ([], "keep-key"),
        ([KEEP, KEEP], "keep-key"),
        ([OWNED, KEEP, OWNED], "owned"),
        ([KEEP, MOVING, KEEP], "transferable"),
        ([KEEP, collection(), KEEP], "collection"),
    ],
)
def test_the_strongest_kind(chain: list[Transform], kind: str) -> None:
    assert Pipeline("t", INFO, chain).kind == kind


@pytest.mark.parametrize(
    "chain", [[OWNED, MOVING], [MOVING, MOVING], [collection(), OWNED], [collection(), MOVING]]
)
def test_what_cannot_be_one_chain(chain: list[Transform]) -> None:
    with pytest.raises(FearlessError, match="deploy them in releases of their own") as caught:
        Pipeline("t", INFO, chain)
    assert all(f"{t.name!r} ({t.kind})" in str(caught.value) for t in chain)


# ------------------------------------------------------------------------ transferable


def by_mail(item: Item) -> Item:
    return Item.of({"id": item["mail"], "at": "1"})


def moving(up: Any = by_mail) -> Pipeline:
    return Pipeline("t", INFO, [make(up=up, kind="transferable", owner_attribute="of")])


def test_outputs_say_whose_they_are() -> None:
    (output,) = moving()(ITEM).outputs.values()
    key = {"id": {"S": "a"}, "at": {"S": "1"}}
    assert output == {"id": {"S": "ann@example.com"}, "at": {"S": "1"}, "of": {"M": key}}
    assert moving().owner(output) == key
    assert moving().owner({"id": {"S": "x"}, "at": {"S": "1"}}) is None
    assert moving().owner({"id": {"S": "x"}, "at": {"S": "1"}, "of": {"S": "x"}}) is None


def test_an_output_with_another_owner_is_refused() -> None:
    def steal(item: Item) -> Item:
        return Item.of({"id": "x", "at": "1", "of": {"id": "b", "at": "1"}})

    def right(item: Item) -> Item:
        return Item.of({"id": "x", "at": "1", "of": {"id": "a", "at": "1"}})

    assert "an output sets 'of' itself" in str(moving(steal)(ITEM).failure)
    (output,) = moving(right)(ITEM).outputs.values()
    assert moving().owner(output) == {"id": {"S": "a"}, "at": {"S": "1"}}


def test_the_owner_is_part_of_the_size() -> None:
    def large(item: Item) -> Item:
        return Item.of({"id": "x", "at": "1", "v": "x" * (409_600 - 6)})

    assert moving(large)(ITEM).failure is not None
    assert Pipeline("t", INFO, [OWNED])({**ITEM, "v": {"S": "x" * 409_000}}).failure is None


# -------------------------------------------------------------------------- collection


def sum_up(items: list[Item]) -> Item:
    total = sum(item["n"] for item in items)
    return Item.of({"id": items[0]["id"], "at": "sum", "n": total, "first": items[0]["at"]})


def row(at: str, n: int = 1, kind: str = "line", hash_key: str = "a") -> dict[str, Any]:
    return Item.of({"id": hash_key, "at": at, "n": n, "kind": kind}).typed


def gather(**parts: Any) -> Pipeline:
    return Pipeline("t", INFO, [collection(group=lambda i: i["kind"], merge=sum_up, **parts)])


def test_a_group_is_merged_in_the_order_of_its_keys() -> None:
    outcome = gather().merged([row("2", 20), row("10", 1), row("3", 300)])
    assert [Item(item) for item in outcome.outputs.values()] == [
        {"id": "a", "at": "sum", "n": 321, "first": "10"}
    ]
    gather().check_pure([row("2"), row("3")], gather().merged([row("3"), row("2")]))
    assert gather().group(row("2")) == "line"
    assert gather().group(row("2", kind="")) == ""
    assert not gather().merged([row("2", kind="")]).outputs
    assert gather().owner(row("2")) is None


def test_stages_around_a_collection() -> None:
    def drop(item: Item) -> Item | None:
        return item if item["n"] else None

    def name(item: Item) -> Item:
        item["done"] = True
        return item

    first, last = Transform("drop", ("t",), drop), Transform("name", ("t",), name)
    middle = collection(group=lambda i: i["kind"], merge=sum_up)
    pipeline = Pipeline("t", INFO, [first, middle, last])
    (output,) = pipeline.merged([row("1"), row("0", 0), row("2")]).outputs.values()
    assert (output["n"], output["done"]) == ({"N": "2"}, {"BOOL": True})
    assert pipeline.group(row("0", 0)) == ""
    assert not pipeline.merged([row("0", 0)]).outputs


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([row("1"), row("2", kind="total")], "the items are not of one group"),
        ([row("1"), row("2", hash_key="b")], "the items are not of one group"),
    ],
)
def test_what_is_not_one_group(items: list[Any], message: str) -> None:
    failure = gather().merged(items).failure
    assert failure is not None
    assert failure.message == message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Item.of({"id": "b", "at": "1"}), "merge() returned an item with another hash key"),
        (Item.of({"id": "a"}), "key attribute 'at' missing"),
        (5, "merge() returned a int, not items or None"),
        ([Item.of({"id": "a", "at": "1"})] * 2, "two outputs with one key"),
    ],
)
def test_what_merge_may_not_return(answer: Any, message: str) -> None:
    transform = collection(merge=lambda items: answer)
    failure = Pipeline("t", INFO, [transform]).merged([row("1")]).failure
    assert failure is not None
    assert (failure.transform, failure.error, failure.message) == ("gather", "Contract", message)


def test_failures_of_groups() -> None:
    def nobody(item: Item) -> str:
        raise ValueError(f"no group for {item['mail']}")

    pipeline = Pipeline("t", INFO, [collection(group=nobody)])
    with pytest.raises(Failed) as caught:
        pipeline.group(ITEM)
    assert caught.value.failure.message == "no group for …"
    assert caught.value.failure.where.startswith("test_contract.py:")
    assert pipeline.merged([ITEM]).failure == caught.value.failure
    with pytest.raises(Failed, match=r"group\(\) returned a int, not a string"):
        Pipeline("t", INFO, [collection(group=lambda item: 5)]).group(ITEM)
    with pytest.raises(ValueError, match="its items are merged by group, not one by one"):
        gather()(ITEM)
    with pytest.raises(ValueError, match="no transform of kind 'collection'"):
        Pipeline("t", INFO, []).group(ITEM)


def test_an_impure_merge_is_noticed() -> None:
    seen: list[Any] = []

    def merge(items: list[Item]) -> Item:
        seen.append(items)
        return Item.of({"id": "a", "at": str(len(seen))})

    with pytest.raises(Impure):
        Pipeline("t", INFO, [collection(merge=merge)]).check_pure([row("1")])


# ------------------------------------------------------------------------------- owned


def line(item: Item) -> list[Item]:
    return [item, Item.of({"id": item["id"], "at": f"{item['at']}/1"})]


def line_owner(key: Item) -> Item:
    return Item.of({"id": key["id"], "at": key["at"].partition("/")[0]})


@pytest.mark.parametrize(
    ("up", "prefix", "message"),
    [
        (
            lambda item: [Item.of({"id": "b", "at": "1"})],
            None,
            "an output of a transform with a way back has another hash key",
        ),
        (line, lambda key: f"{key['at']}/", "the range key of an output does not begin with"),
    ],
)
def test_a_way_back_asks_for_more(up: Any, prefix: Any, message: str) -> None:
    def owner(key: Item) -> Item:
        return Item.of({"id": "a", "at": "1"})

    free = Pipeline("t", INFO, [make(up=up, kind="owned", owner=owner)])
    assert free(ITEM).failure is None
    bound = make(up=up, kind="owned", owner=owner, down=same, prefix=prefix)
    failure = Pipeline("t", INFO, [bound])(ITEM).failure
    assert failure is not None
    assert message in failure.message


def test_callables_of_any_kind_are_named() -> None:
    class Up:
        def __call__(self, item: Item) -> Item:
            raise ValueError(f"no {item['mail']}")

    for up in (Up(), functools.partial(Up.__call__, Up())):
        failure = Pipeline("t", INFO, [make(up=up)])(ITEM).failure
        assert failure is not None
        assert failure.message == "no …"
        assert failure.where.startswith("test_contract.py:")
    failure = Pipeline("t", INFO, [make(up=dict.fromkeys)])(ITEM).failure
    assert failure is not None
    assert failure.where == ""


def test_the_digest_follows_the_function() -> None:
    assert collection().digest == collection().digest
    assert collection().source_digest
    with pytest.raises(ValueError, match="transform 'it' has no function"):
        assert Transform("it", ("t",)).digest
