"""One customer: browses, orders, changes their mind. What they do follows from the seed alone."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fearless.local.traffic.desk import Desk, Write

NAMES = ("Zoë Brandt", "Jürgen Weiß", "Siobhán O'Neill", "Łukasz Nowak", "山田 花子", "Ana García")
NOTES = ("", "", "Please ring twice.", "C'est un cadeau 🎁")
STATUSES = ("paid", "shipped", "delivered", "returned")
REMEMBERED = 50


def _everything(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(shown)


def _price(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"price": shown.get("price")}


class Shopper:
    """A customer who knows the stores, and is the only one to change the orders they placed.

    Prices are changed too, each product's by one shopper of the `crew` alone, so that the
    last acknowledged write is known. `name` makes the ids of their orders unique.
    """

    def __init__(
        self,
        desk: Desk,
        stores: Sequence[str],
        name: str,
        index: int,
        crew: int,
        seed: int,
    ) -> None:
        self._desk = desk
        self._stores = stores
        self._name = name
        self._index = index
        self._crew = crew
        self._dice = random.Random(f"{seed}/{index}")
        self._products: dict[str, list[str]] = {}
        self._orders: list[str] = []
        self._placed = 0
        self._habits: Sequence[tuple[Callable[[str], object], int]] = (
            (lambda _: desk.view("/"), 3),
            (lambda _: desk.read("/stores", "stores"), 5),
            (lambda store: desk.read(f"/stores/{store}", "name"), 8),
            (self._browse, 10),
            (self._look, 28),
            (lambda store: desk.read(f"/stores/{store}/orders?limit=10", "orders"), 4),
            (self._track, 14),
            (self._order, 16),
            (self._change, 5),
            (self._reprice, 3),
            (self._cancel, 4),
        )

    def pause(self, mean: float) -> float:
        """How many seconds to wait before the next request."""
        return self._dice.uniform(0.5, 1.5) * mean

    def act(self) -> None:
        """Do one thing: one request, or two when something has to be looked up first."""
        store = self._dice.choice(self._stores)
        habits, weights = zip(*self._habits, strict=True)
        self._dice.choices(habits, weights)[0](store)

    def _browse(self, store: str) -> None:
        shown = self._desk.read(f"/stores/{store}/products?limit=60", "products")
        if shown:
            self._products[store] = [product["id"] for product in shown["products"]]

    def _look(self, store: str) -> None:
        product = self._some_product(store)
        if product:
            self._desk.read(f"/stores/{store}/products/{product}", "price")

    def _track(self, store: str) -> None:
        if self._orders:
            self._desk.check(self._dice.choice(self._orders))
        else:
            self._look(store)

    def _order(self, store: str) -> None:
        product = self._some_product(store)
        if not product:
            return
        wanted = {product, *self._dice.choices(self._products[store], k=self._dice.randrange(3))}
        self._placed += 1
        order_id = f"{self._name}-{self._index}-{self._placed:05d}"
        orders = f"/stores/{store}/orders"
        body = {
            "id": order_id,
            "customer": {
                "name": self._dice.choice(NAMES),
                "email": f"customer{self._dice.randrange(5000)}@mail.example",
            },
            "lines": [
                {"product_id": p, "quantity": self._dice.randint(1, 4)} for p in sorted(wanted)
            ],
            "note": self._dice.choice(NOTES),
        }
        path = f"{orders}/{order_id}"
        if self._desk.write(Write("placed", "POST", orders, body, path, _everything)):
            self._orders = [*self._orders[-REMEMBERED:], path]

    def _change(self, store: str) -> None:
        if not self._orders:
            return self._order(store)
        path = self._dice.choice(self._orders)
        body = {"status": self._dice.choice(STATUSES)}
        self._desk.write(Write("changed", "PUT", f"{path}/status", body, path, _everything))
        return None

    def _reprice(self, store: str) -> None:
        if store not in self._products:
            return self._browse(store)
        mine = [p for p in self._products[store] if self._owns(f"{store}/{p}")]
        if mine:
            path = f"/stores/{store}/products/{self._dice.choice(mine)}"
            cents = self._dice.randint(199, 19_999)
            body = {"price": f"{cents // 100}.{cents % 100:02d}"}
            self._desk.write(Write("priced", "PUT", f"{path}/price", body, path, _price))
        return None

    def _cancel(self, store: str) -> None:
        if not self._orders:
            return self._order(store)
        path = self._orders.pop(self._dice.randrange(len(self._orders)))
        self._desk.write(Write("deleted", "DELETE", path, None, path, None))
        return None

    def _some_product(self, store: str) -> str | None:
        if store not in self._products:
            self._browse(store)
        products = self._products.get(store)
        return self._dice.choice(products) if products else None

    def _owns(self, product: str) -> bool:
        return zlib.crc32(product.encode()) % self._crew == self._index
