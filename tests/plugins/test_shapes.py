"""Old code, then the migration, then new code: the shop's orders come out as they went in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.data.items import Item
from tests import shop_app
from tests.shop_app import SHOP, migrate


@pytest.fixture(scope="module")
def model() -> Iterator[ModuleType]:
    """The shop's own package, for as long as these tests run."""
    sys.path.insert(0, str(SHOP))
    try:
        import shop.model

        yield shop.model
    finally:
        sys.path.remove(str(SHOP))
        for name in [n for n in sys.modules if n == "shop" or n.startswith("shop.")]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def schemas(model: ModuleType) -> tuple[ModuleType, ModuleType]:
    overlay = SHOP / "seed" / "overlay" / "shop" / "schema.py"
    return (
        shop_app.load(overlay, "shop_schema_v1"),
        shop_app.load(SHOP / "shop" / "schema.py", "shop_schema_v2"),
    )


texts = st.text(max_size=12)
money = st.decimals(0, 10**6, places=2)
bought = st.lists(st.tuples(texts, st.integers(1, 999), money), min_size=1, max_size=20)


def items_of(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Through the transforms and back to plain values."""
    return [dict(m.items()) for item in made for m in migrate("orders", Item.of(item))]


@given(texts, texts, bought)
def test_orders_written_by_version_1_are_read_by_version_2(
    model: ModuleType, schemas: tuple[ModuleType, ModuleType], note: str, name: str, lines: Any
) -> None:
    v1, v2 = schemas
    order = model.Order(
        id="20260101-1",
        number="123456789012345678901234",
        placed_at="2026-01-01T00:00:00+00:00",
        status="paid",
        customer=model.Customer(name, "c@mail.example", {"city": "Łódź"}),
        currency="EUR",
        total=Decimal("12.50"),
        lines=tuple(
            model.Line(f"p-{i}", title, quantity, price)
            for i, (title, quantity, price) in enumerate(lines)
        ),
        note=note,
    )
    old = v1.order_items("books-00", order)
    migrated = items_of(old)
    assert list(v1.read_orders(old)) == [order]
    assert list(v2.read_orders(migrated)) == [order]
    assert list(v2.read_orders(reversed(migrated))) == [order]
    assert migrated == v2.order_items("books-00", order)
    assert v2.line_ids(migrated[0]) == [item["object_id"] for item in migrated[1:]]


def test_stores_written_by_version_1_are_read_by_version_2(
    model: ModuleType, schemas: tuple[ModuleType, ModuleType]
) -> None:
    v1, v2 = schemas
    store = model.Store("test-1", "Zoë's", "z@zoe.example", address={"city": "Ghent"}, products=3)
    (migrated,) = migrate("stores", Item.of(v1.store_item(store)))
    assert dict(migrated.items()) == v2.store_item(store)
    assert v2.read_store(dict(migrated.items())) == store


def test_both_versions_offer_the_same_interface(schemas: tuple[ModuleType, ModuleType]) -> None:
    old, new = ({n for n in dir(m) if not n.startswith("_")} for m in schemas)
    assert old ^ new <= {"LINE", "groupby"}
