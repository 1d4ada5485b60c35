"""The seed: what production holds before the first release."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from typing import Any

import pytest

from tests import shop_app

DIGEST = "937d33bcbc27887ec5a733f7702d0587ab82d7a498ddfa4776a56fbea7a1942b"


def items(table: str) -> list[dict[str, Any]]:
    return list(shop_app.seed_items(table))


def fingerprint() -> str:
    digest = hashlib.sha256()
    for table in shop_app.TABLES:
        for item in shop_app.seed.items(table):
            digest.update(json.dumps(item, sort_keys=True, default=bytes.hex).encode())
    return digest.hexdigest()


def test_the_seed_is_the_same_everywhere_and_quick() -> None:
    started = time.process_time()
    assert fingerprint() == DIGEST
    assert time.process_time() - started < 4


def test_counts() -> None:
    counts = {table: len(items(table)) for table in shop_app.TABLES}
    assert counts == {"stores": 60, "products": 5971, "orders": 14_500}
    carts = [i for i in items("orders") if i["object_id"]["S"].startswith("cart#")]
    assert len(carts) == 800


@pytest.mark.parametrize("table", shop_app.TABLES)
def test_keys_are_unique_and_none_is_test_data(table: str) -> None:
    keys = [(i["store_id"]["S"], i["object_id"]["S"]) for i in items(table)]
    assert len(set(keys)) == len(keys)
    assert not [store for store, _ in keys if store.startswith("test-")]


def test_it_holds_what_real_data_holds() -> None:
    kinds: Counter[str] = Counter()
    texts: list[str] = []
    numbers: list[str] = []

    def walk(value: dict[str, Any]) -> None:
        ((kind, raw),) = value.items()
        kinds[kind] += 1
        if kind == "M":
            for member in raw.values():
                walk(member)
        elif kind == "L":
            for member in raw:
                walk(member)
        elif kind == "S":
            texts.append(raw)
        elif kind == "N":
            numbers.append(raw)

    for table in shop_app.TABLES:
        for item in items(table):
            walk(item["object_value"])
    assert {"S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS"} <= set(kinds)
    assert "" in texts
    assert any(not text.isascii() for text in texts)
    assert any("." in number for number in numbers)
    assert any(len(number) == 24 for number in numbers)
    assert not [n for n in numbers if "E" in n.upper() or n.endswith(".") or n.startswith(".")]


def test_every_line_is_of_a_product_there_is_at_its_price() -> None:
    prices = {
        (i["store_id"]["S"], i["object_id"]["S"]): i["object_value"]["M"]["price"]
        for i in items("products")
    }
    for order in items("orders"):
        for line in order["object_value"]["M"].get("lines", {"L": []})["L"]:
            product = (order["store_id"]["S"], line["M"]["product_id"]["S"])
            assert prices[product] == line["M"]["unit_price"]


def test_stores_say_how_many_products_they_offer() -> None:
    offered = Counter(i["store_id"]["S"] for i in items("products"))
    said = {i["store_id"]["S"]: i["object_value"]["M"]["products"]["N"] for i in items("stores")}
    assert said == {store: str(count) for store, count in offered.items()}
