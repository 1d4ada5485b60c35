"""The shop's migrations: what they make of version 1, and that they leave version 2 alone."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.data.items import Item
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline
from tests import shop_app
from tests.shop_app import migrate

transforms = shop_app.transforms

texts = st.text(max_size=20)
numbers = st.integers(-(10**24), 10**24) | st.decimals(
    allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9
)
plain = st.recursive(
    st.none() | st.booleans() | texts | numbers | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
others = st.dictionaries(texts.filter(lambda name: name not in ("lines", "line_count")), plain)
lines = st.lists(st.dictionaries(texts, plain, max_size=3), max_size=4)


KEYS = ("store_id", "object_id")


def shop_pipeline(table: str) -> Pipeline:
    info = TableInfo(table, "", "", None, None, KEYS, dict.fromkeys(KEYS, "S"), 0, 0)
    return Pipeline(table, info, transforms.transforms())


def order(value: dict[str, Any], object_id: str = "20260101-000001", **more: Any) -> Item:
    return Item.of({"store_id": "books-00", "object_id": object_id, "object_value": value, **more})


def test_mail_becomes_email_and_nothing_else_changes() -> None:
    store = order({"name": "Zoë", "mail": "z@zoe.example", "vat": Decimal("0.20")}, "profile")
    (migrated,) = migrate("stores", store)
    assert migrated["object_value"] == {
        "name": "Zoë",
        "email": "z@zoe.example",
        "vat": Decimal("0.20"),
    }
    assert migrate("stores", migrated) == [migrated]


def test_carts_are_dropped_and_orders_are_not() -> None:
    assert migrate("orders", order({"products": {Decimal(1)}}, "cart#00001")) == []
    assert migrate("orders", order({"lines": []})) == [order({"line_count": 0})]


def test_an_order_is_split_into_itself_and_its_lines() -> None:
    bought = [{"title": "Mug", "quantity": Decimal(2)}, {"title": "Bowl", "quantity": Decimal(1)}]
    migrated = migrate("orders", order({"note": "", "lines": bought}, test=True))
    assert migrated == [
        order({"note": "", "line_count": 2}, test=True),
        order(bought[0], "20260101-000001#line#000", test=True),
        order(bought[1], "20260101-000001#line#001", test=True),
    ]


@given(others, lines)
def test_splitting_keeps_everything_and_is_pure(value: dict[str, Any], bought: list[Any]) -> None:
    item = order({**value, "lines": bought})
    before = copy.deepcopy(item.typed)
    first, *rest = transforms.split_order(item)
    assert item.typed == before
    assert first == order({**value, "line_count": len(bought)})
    assert [line["object_value"] for line in rest] == order({"l": bought})["object_value"]["l"]
    assert [line["object_id"] for line in rest] == sorted(line["object_id"] for line in rest)
    key = Item.of({"store_id": "books-00", "object_id": "20260101-000001"})
    assert [transforms.owning_order(made) for made in (first, *rest)] == [key] * (len(rest) + 1)


@given(others, lines)
def test_what_is_migrated_is_left_alone(value: dict[str, Any], bought: list[Any]) -> None:
    for migrated in migrate("orders", order({**value, "lines": bought})):
        if "lines" not in migrated["object_value"]:
            assert migrate("orders", migrated) == [migrated]


@pytest.mark.parametrize("table", shop_app.TABLES)
def test_the_seed_migrates_once_and_for_all(table: str) -> None:
    keys: set[tuple[str, str]] = set()
    count = 0
    for typed in shop_app.seed_items(table)[::7]:
        source = Item(typed)
        before = dict(source.typed)
        for made in migrate(table, source):
            count += 1
            keys.add((made["store_id"], made["object_id"]))
            assert migrate(table, made) == [made]
            assert "mail" not in made["object_value"]
            if table == "orders":
                assert transforms.owning_order(made)["object_id"] == source["object_id"]
        assert source.typed == before
    assert len(keys) == count


@pytest.mark.parametrize("table", shop_app.TABLES)
def test_the_seed_keeps_every_contract_the_data_plane_checks(table: str) -> None:
    pipeline = shop_pipeline(table)
    for typed in shop_app.seed_items(table)[::5]:
        outcome = pipeline(typed)
        assert outcome.failure is None
        pipeline.check_pure(typed, outcome)
        for made in outcome.outputs.values():
            assert pipeline.owner(made) == {name: typed[name] for name in KEYS}


@given(others, lines)
def test_joining_is_the_way_back_of_splitting(value: dict[str, Any], bought: list[Any]) -> None:
    source = order({**value, "lines": bought}, more=b"\x00")
    made = transforms.split_order(source)
    assert transforms.join_order(list(reversed(made)), None) == source
    assert transforms.join_order([order(value)], source) == order(value)


def test_an_order_of_a_thousand_lines_comes_back_in_order() -> None:
    source = order({"lines": [{"n": Decimal(n)} for n in range(1002)]})
    made = sorted(transforms.split_order(source), key=lambda item: str(item["object_id"]))
    assert transforms.join_order(made, None) == source


def test_an_order_that_was_cancelled_is_gone_in_the_old_release() -> None:
    _, line = transforms.split_order(order({"lines": [{}]}))
    assert transforms.join_order([], order({"lines": [{}]})) is None
    assert transforms.join_order([line], None) is None


def test_email_becomes_mail_again() -> None:
    store = order({"name": "Zoë", "mail": "z@zoe.example"}, "profile")
    assert transforms.rename_email(transforms.rename_mail(store), store) == store
    nameless = order({"name": "Zoë"}, "profile")
    assert transforms.rename_email(nameless, None) == nameless


@pytest.mark.parametrize("table", shop_app.TABLES)
def test_the_way_back_gives_every_item_of_the_seed_exactly(table: str) -> None:
    pipeline = shop_pipeline(table)
    assert pipeline.one_way == ""
    for typed in shop_app.seed_items(table)[::5]:
        assert pipeline.round_trip(typed, pipeline(typed))


def test_what_version_2_wrote_is_there_for_version_1() -> None:
    pipeline = shop_pipeline("orders")
    bought = [{"title": "Mug"}, {"title": "Bowl"}]
    there = list(pipeline(order({"note": "", "lines": bought}).typed).outputs.values())
    (was,) = pipeline.back(there, None).outputs.values()
    assert Item(was) == order({"note": "", "lines": bought})
    changed = [order({"note": "new", "line_count": 1}).typed, there[1]]
    (was,) = pipeline.back(changed, was).outputs.values()
    assert Item(was) == order({"note": "new", "lines": bought[:1]})
    assert pipeline.back([], was).outputs == {}
    cart = order({"products": {Decimal(1)}}, "cart#00001").typed
    assert list(pipeline.back([], cart).outputs.values()) == [cart]


def test_the_hook_names_each_transform_once_with_its_tables() -> None:
    found = transforms.transforms()
    assert {t.name: (t.tables, t.kind) for t in found} == {
        "drop-carts": (("orders",), "keep-key"),
        "rename-mail": (("stores",), "keep-key"),
        "split-orders": (("orders",), "owned"),
    }
    assert all(t.owner is not None for t in found if t.kind == "owned")
