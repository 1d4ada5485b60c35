"""The shop's smoke test as a gate: what must work on a candidate, and what must not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fearless import Candidate, Gate, GateFailed, hookimpl

TEST_STORE = {"id": "test-smoke", "name": "Smoke test", "email": "smoke@test.example"}
TEST_PRODUCT = {"id": "p-smoke", "title": "A thing to order", "price": "12.50"}
BUYER = {"name": "Zoë Tester", "email": "zoe@test.example"}


@hookimpl
def gates() -> list[Gate]:
    """One gate: `shop`."""
    return [Gate("shop", works)]


def works(candidate: Candidate) -> str:
    """Every page shows what it should, a test order goes through, real stores are closed."""
    shown = _get(candidate, "/__release")["sha"]
    if shown != candidate.release.sha:
        raise GateFailed(f"/__release shows {shown}, not {candidate.release.sha}")
    stores = _get(candidate, "/stores")["stores"]
    nameless = [store["id"] for store in stores if "@" not in store["email"]]
    if nameless:
        raise GateFailed(f"{len(nameless)} stores have no e-mail address: {nameless[0]}")
    _order_something(candidate)
    return f"{len(stores)} stores listed, a test order came and went, {_closed(candidate, stores)}"


def _order_something(candidate: Candidate) -> None:
    """Place, read and cancel an order in a test store, as its customer would."""
    _post(candidate, "/stores", TEST_STORE)
    _post(candidate, f"/stores/{TEST_STORE['id']}/products", TEST_PRODUCT)
    _get(candidate, f"/stores/{TEST_STORE['id']}/products/{TEST_PRODUCT['id']}")
    orders = f"/stores/{TEST_STORE['id']}/orders"
    order_id = f"smoke-{candidate.release.short}"
    lines = [{"product_id": TEST_PRODUCT["id"], "quantity": 3}]
    placed = _post(candidate, orders, {"id": order_id, "customer": BUYER, "lines": lines})
    if (placed["total"], placed["customer"]["name"]) != ("37.50", BUYER["name"]):
        raise GateFailed(f"the test order came out wrong: {placed}")
    if _get(candidate, f"{orders}/{order_id}") != placed:
        raise GateFailed("the test order reads differently from what was placed")
    _post(candidate, f"{orders}/{order_id}/cancel", {})
    status, _ = candidate.get(f"{orders}/{order_id}")
    if status != 404:
        raise GateFailed(f"the cancelled test order answers {status}, not 404")


def _closed(candidate: Candidate, stores: list[dict[str, Any]]) -> str:
    """Prove that real stores cannot be written, by placing an order again that is there already.

    Were the candidate allowed to write, it would find the order and change nothing.
    """
    for store in stores:
        products = _get(candidate, f"/stores/{store['id']}/products?limit=1")["products"]
        for product in products:
            _get(candidate, f"/stores/{store['id']}/products/{product['id']}")
        for order in _get(candidate, f"/stores/{store['id']}/orders?limit=1")["orders"]:
            again = {name: order[name] for name in ("id", "customer", "lines")}
            status, _ = candidate.post(f"/stores/{store['id']}/orders", again)
            if status != 503:
                raise GateFailed(f"a write to the real store {store['id']!r} answered {status}")
            return "a write to a real store was refused"
    return "there is no real order to try a write with"


def _get(candidate: Candidate, path: str) -> Any:
    return _answer(f"GET {path}", candidate.get(path))


def _post(candidate: Candidate, path: str, body: Mapping[str, Any]) -> Any:
    return _answer(f"POST {path}", candidate.post(path, body))


def _answer(what: str, answer: tuple[int, bytes]) -> Any:
    status, body = answer
    if status not in (200, 201):
        raise GateFailed(f"{what} answered {status}: {body[:200].decode(errors='replace')}")
    return json.loads(body)
