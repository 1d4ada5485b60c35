"""The shop's HTTP interface, the same in both versions of its data."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.shop_app import Shop

STORE = "coffee-03"
ORDERS = f"/stores/{STORE}/orders"
BUYER = {"name": "Zoë O'Neill", "email": "zoe@mail.example", "address": {"city": "Łódź"}}
numbers = itertools.count()


def order(**changes: Any) -> dict[str, Any]:
    lines = [{"product_id": "p-0001", "quantity": 2}, {"product_id": "p-0002", "quantity": 1}]
    return {"id": f"20990101-{next(numbers):04d}", "customer": BUYER, "lines": lines} | changes


def test_release_is_what_the_environment_says(shop: Shop) -> None:
    status, shown = shop.call("GET", "/__release")
    assert status == 200
    assert shown.pop("schema") in (1, 2)
    assert shown == {
        "app": "shop",
        "sha": "4f2a9c1d5e6b7a8f9c0d1e2f3a4b5c6d7e8f9a0b",
        "stack": "shop-r-1",
        "release": "20261123-4f2a9c1",
        "kind": "release",
    }


def test_front_page_shows_stores_and_release(shop: Shop) -> None:
    status, page = shop.call("GET", "/")
    assert status == 200
    assert "Lefèvre Coffee" in page
    assert "20261123-4f2a9c1" in page
    assert "1 stores" not in page or "products" in page


def test_healthz(shop: Shop) -> None:
    assert shop.call("GET", "/healthz") == (200, {"status": "ok"})


def test_stores_have_an_email_in_both_versions(shop: Shop) -> None:
    _, shown = shop.call("GET", "/stores")
    assert [(s["id"], s["email"]) for s in shown["stores"]] == [(STORE, "hello@coffee-03.example")]
    assert shop.call("GET", f"/stores/{STORE}") == (200, shown["stores"][0])


def test_products(shop: Shop) -> None:
    _, shown = shop.call("GET", f"/stores/{STORE}/products?limit=3")
    assert [p["id"] for p in shown["products"]] == ["p-0000", "p-0001", "p-0002"]
    status, product = shop.call("GET", f"/stores/{STORE}/products/p-0001")
    assert status == 200
    assert product == shown["products"][1]
    assert len(product["thumbnail"]) == 64
    assert product["price"].partition(".")[2].isdecimal()


def test_price_changes(shop: Shop) -> None:
    path = f"/stores/{STORE}/products/p-0009"
    status, product = shop.call("PUT", f"{path}/price", {"price": "7.50"})
    assert (status, product["price"]) == (200, "7.50")
    assert shop.call("GET", path) == (200, product)


def test_an_order_is_placed_read_changed_and_cancelled(shop: Shop) -> None:
    wanted = order(note="für Zoë 🎁")
    status, placed = shop.call("POST", ORDERS, wanted)
    assert status == 201
    assert (placed["id"], placed["status"], placed["note"]) == (
        wanted["id"],
        "placed",
        "für Zoë 🎁",
    )
    assert placed["customer"] == BUYER
    assert [(line["product_id"], line["quantity"]) for line in placed["lines"]] == [
        ("p-0001", 2),
        ("p-0002", 1),
    ]
    assert placed["number"].isdecimal()
    path = f"{ORDERS}/{wanted['id']}"
    assert shop.call("GET", path) == (200, placed)

    status, paid = shop.call("PUT", f"{path}/status", {"status": "paid"})
    assert (status, paid) == (200, placed | {"status": "paid"})
    assert shop.call("GET", f"{ORDERS}?limit=1") == (200, {"orders": [paid]})

    assert shop.call("DELETE", path) == (200, {"cancelled": wanted["id"]})
    assert shop.call("GET", path)[0] == 404
    assert shop.call("DELETE", path)[0] == 404
    assert shop.call("PUT", f"{path}/status", {"status": "paid"})[0] == 404


def test_an_order_sent_again_is_the_same_order(shop: Shop) -> None:
    wanted = order()
    first = shop.call("POST", ORDERS, wanted)
    shop.call("PUT", f"{ORDERS}/{wanted['id']}/status", {"status": "shipped"})
    again = shop.call("POST", ORDERS, wanted | {"note": "another note"})
    assert first[0] == 201
    assert again == (200, first[1] | {"status": "shipped"})


def test_an_order_sent_by_many_at_once_is_one_order(shop: Shop) -> None:
    wanted = order()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shop.call("POST", ORDERS, wanted), range(8)))
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({str(sorted(shown)) for _, shown in answers}) == 1


def test_orders_are_listed_newest_first_with_their_lines(shop: Shop) -> None:
    _, shown = shop.call("GET", f"{ORDERS}?limit=200")
    ids = [o["id"] for o in shown["orders"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 200
    assert not [i for i in ids if "#" in i]
    assert all(o["lines"] for o in shown["orders"])
    assert shop.call("GET", f"{ORDERS}?limit=7")[1]["orders"] == shown["orders"][:7]


def test_ids_that_begin_alike_are_different_orders(shop: Shop) -> None:
    short, long = order(id="20990301-1"), order(id="20990301-10")
    for wanted in (short, long):
        assert shop.call("POST", ORDERS, wanted)[0] == 201
    assert shop.call("DELETE", f"{ORDERS}/20990301-1")[0] == 200
    assert shop.call("GET", f"{ORDERS}/20990301-10")[1]["lines"]


def test_test_stores_live_beside_real_ones_and_are_not_listed(shop: Shop) -> None:
    test_store = {"id": "test-api", "name": "Test", "email": "t@test.example"}
    first = shop.call("POST", "/stores", test_store)
    assert first[0] == 201
    assert shop.call("POST", "/stores", test_store) == (200, first[1])
    product = {"id": "p-1", "title": "A thing", "price": "1.00"}
    assert shop.call("POST", "/stores/test-api/products", product)[0] == 201
    wanted = order(lines=[{"product_id": "p-1", "quantity": 3}])
    assert shop.call("POST", "/stores/test-api/orders", wanted)[1]["total"] == "3.00"
    assert shop.call("POST", f"/stores/test-api/orders/{wanted['id']}/cancel", {})[0] == 200
    assert [s["id"] for s in shop.call("GET", "/stores")[1]["stores"]] == [STORE]
    assert "test-api" not in shop.call("GET", "/")[1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/nothing", None, 404, "not found"),
        ("GET", "/stores/no-such", None, 404, "no store 'no-such'"),
        ("GET", "/stores/no-such/products", None, 404, "no store"),
        ("GET", f"/stores/{STORE}/products/p-x", None, 404, "no product 'p-x'"),
        ("GET", f"{ORDERS}/cart#00001", None, 404, "no order"),
        ("GET", f"{ORDERS}?limit=0", None, 400, "limit must be a number from 1 to 200"),
        ("GET", f"{ORDERS}?limit=x", None, 400, "limit"),
        ("DELETE", f"/stores/{STORE}", None, 405, "not allowed"),
        ("POST", ORDERS, [], 400, "JSON object"),
        ("POST", ORDERS, {}, 400, "id must be"),
        ("POST", ORDERS, order(id="a#b"), 400, "id must be"),
        ("POST", ORDERS, order(customer="Zoë"), 400, "JSON object"),
        ("POST", ORDERS, order(customer={"name": "Zoë", "email": "zoe"}), 400, "e-mail address"),
        ("POST", ORDERS, order(lines=[]), 400, "lines must be a list of 1 to 20"),
        ("POST", ORDERS, order(lines=[{"product_id": "p-0001", "quantity": 0}]), 400, "quantity"),
        ("POST", ORDERS, order(lines=[{"product_id": "p-0001", "quantity": True}]), 400, "whole"),
        ("POST", ORDERS, order(lines=[{"product_id": "p-x", "quantity": 1}]), 404, "no product"),
        ("POST", ORDERS, order(note="x" * 70_000), 413, "exceeds"),
        ("PUT", f"/stores/{STORE}/products/p-0001/price", {"price": 12.5}, 400, "12.50"),
        ("PUT", f"/stores/{STORE}/products/p-0001/price", {"price": "1.005"}, 400, "12.50"),
        ("PUT", f"/stores/{STORE}/products/p-0001/price", {"price": "NaN"}, 400, "12.50"),
        ("PUT", f"/stores/{STORE}/products/p-0001/price", {"price": "1e999999"}, 400, "12.50"),
        ("PUT", f"/stores/{STORE}/products/p-x/price", {"price": "1"}, 404, "no product"),
        ("PUT", f"{ORDERS}/x/status", {"status": "eaten"}, 400, "placed, paid, shipped"),
    ],
)
def test_what_makes_no_sense_is_refused_as_json(
    shop: Shop, method: str, path: str, body: Any, status: int, says: str
) -> None:
    answered, shown = shop.call(method, path.replace("#", "%23"), body)
    assert answered == status
    assert says in shown["error"]
