"""What the shop's production holds before the first release: items of version 1, typed.

`items(table)` yields them as boto3 takes them, `{"S": "..."}`, the same on every machine and
on every run: 60 stores, about 6,000 products, and 14,500 items in `orders`, of which 800 are
carts left behind.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

SEED = "shop/1"
STORES = 60
PRODUCTS_PER_STORE = (60, 140)
ORDERS = 13_700
CARTS = 800
OPENED = datetime(2026, 1, 2, 8, tzinfo=UTC)
SECONDS = 300 * 24 * 3600

Item = dict[str, Any]
T = TypeVar("T")

CITIES = (
    ("Zürich", "8004", "CH"),
    ("Kraków", "31-001", "PL"),
    ("Málaga", "29015", "ES"),
    ("København", "1620", "DK"),
    ("Łódź", "90-001", "PL"),
    ("Ghent", "9000", "BE"),
    ("Besançon", "25000", "FR"),
    ("Tromsø", "9008", "NO"),
    ("東京", "150-0001", "JP"),
    ("Θεσσαλονίκη", "546 24", "GR"),
    ("Leipzig", "04109", "DE"),
    ("Cork", "T12 X70A", "IE"),
)
OWNERS = (
    "Brandt", "Åkesson", "Nowak", "García", "O'Neill", "Dvořák", "Lefèvre", "Sørensen",
    "Papadopoulos", "山田", "Weiß", "Öztürk", "Ionescu", "Kovács", "Ferreira",
)  # fmt: skip
FIRST_NAMES = (
    "Zoë", "Jürgen", "Chloé", "Łukasz", "Siobhán", "Noémie", "Bjørn", "Ana", "Mateo", "Ελένη",
    "花子", "Ayşe", "István", "Inês", "Tom", "Ruth", "Omar", "Priya", "Linnéa", "Jakub",
)  # fmt: skip
TRADES = (
    ("Books", ("Novel", "Atlas", "Notebook", "Poetry anthology", "Comic")),
    ("Bicycles", ("Saddle", "Bell", "Chain 11×", "Mudguard", "Dynamo lamp")),
    ("Ceramics", ("Mug", "Bowl ⌀ 14 cm", "Vase", "Teapot", "Plate")),
    ("Coffee", ("Espresso beans", "Filter beans", "Hand grinder", "Scale", "Cold brew")),
    ("Garden", ("Tomato seeds", "Trowel", "Hose 25 m", "Rain gauge", "Gloves")),
    ("Records", ('LP 12"', 'Single 7"', "Sleeve", "Brush", "Turntable belt")),
)
KINDS = ("classic", "mini", "large", "organic", "vintage", "travel", "deluxe", "N° 5", "café")
TAGS = ("new", "sale", "gift", "handmade", "vegan", "limited", "été", "eco", "bestseller")
STREETS = (
    "Rue de l'Église",
    "Hauptstraße",
    "Main Street",
    "Calle Mayor",
    "ul. Długa",
    "Kungsgatan",
)
NOTES = ("", "", "", "Please leave it with the neighbour.", "C'est un cadeau 🎁", "Ring twice!")
STATUSES = ("delivered", "delivered", "delivered", "shipped", "paid", "placed", "returned")


def items(table: str) -> Iterator[Item]:
    """The items of `stores`, `products` or `orders`."""
    makers: dict[str, Callable[[], Iterator[Item]]] = {
        "stores": _stores,
        "products": _products,
        "orders": _orders,
    }
    return makers[table]()


def _stores() -> Iterator[Item]:
    for index in range(STORES):
        dice = _dice("store", index)
        trade, _ = TRADES[index % len(TRADES)]
        owner = _pick(dice, OWNERS)
        value = {
            "name": _s(f"{owner} {trade}"),
            "mail": _s(f"hello@{store_id(index)}.example"),
            "phone": _s(
                "" if index % 7 == 0 else f"+41 44 {_up_to(dice, 900) + 100} 00 {index:02d}"
            ),
            "currency": _s(("EUR", "CHF", "DKK")[index % 3]),
            "description": _s(f"{trade} picked by {owner} since {1970 + _up_to(dice, 50)}."),
            "products": _n(_offers(index)),
            "address": _address(dice),
            "opened": _s(f"20{10 + index % 15}-03-01"),
            "closed_on": {"L": [_s("sunday"), *([_s("monday")] if index % 2 else [])]},
            "vat_exempt": {"BOOL": index % 9 == 0},
        }
        yield _item(store_id(index), "profile", value)


def _products() -> Iterator[Item]:
    for index in range(STORES):
        for number in range(_offers(index)):
            title, price, dice = _product(index, number)
            value = {
                "title": _s(title),
                "price": _n(price),
                "stock": _n(_up_to(dice, 400)),
                "description": _s("" if number % 11 == 0 else f"{title}, made to be used."),
                "thumbnail": {"B": _digest("thumb", index, number)},
                "size_mm": {
                    "M": {side: _n(10 + _up_to(dice, 900)) for side in ("width", "height", "depth")}
                },
                "supplier": {"NULL": True} if number % 5 == 0 else _s(_pick(dice, OWNERS)),
            }
            tags = sorted({_pick(dice, TAGS) for _ in range(_up_to(dice, 4))})
            if tags:
                value["tags"] = {"SS": tags}
            yield _item(store_id(index), product_id(number), value)


def _orders() -> Iterator[Item]:
    goods = [[_product(s, n)[:2] for n in range(_offers(s))] for s in range(STORES)]
    for number in range(ORDERS):
        dice = _dice("order", number)
        shop = _busy_store(dice)
        lines = []
        total = Decimal(0)
        for which in _basket(dice, goods[shop]):
            title, price = goods[shop][which]
            quantity = 1 + _up_to(dice, 3)
            total += price * quantity
            lines.append(_line(which, title, quantity, price))
        placed = OPENED + timedelta(seconds=number * SECONDS // ORDERS + _up_to(dice, 600))
        value = {
            "number": _n(10**23 + int.from_bytes(_digest("number", number)[:9], "big")),
            "placed_at": _s(placed.isoformat()),
            "status": _s(_pick(dice, STATUSES)),
            "customer": _customer(dice, number),
            "currency": _s(("EUR", "CHF", "DKK")[shop % 3]),
            "total": _n(total),
            "note": _s(_pick(dice, NOTES)),
            "gift": {"BOOL": dice.random() < 0.1},
            "lines": {"L": lines},
        }
        yield _item(store_id(shop), f"{placed:%Y%m%d}-{number:06d}", value)
    for number in range(CARTS):
        dice = _dice("cart", number)
        shop = _busy_store(dice)
        touched = OPENED + timedelta(seconds=_up_to(dice, SECONDS))
        value = {
            "session": _s(_digest("session", number).hex()),
            "touched_at": _s(touched.isoformat()),
            "products": {"NS": sorted({str(w) for w in _basket(dice, goods[shop])})},
        }
        yield _item(store_id(shop), f"cart#{number:05d}", value)


def store_id(index: int) -> str:
    """`books-07`: what a store's items are kept under."""
    return f"{TRADES[index % len(TRADES)][0].lower()}-{index:02d}"


def product_id(number: int) -> str:
    """`p-0012`: a product within its store."""
    return f"p-{number:04d}"


def _offers(index: int) -> int:
    low, high = PRODUCTS_PER_STORE
    return low + index * (high - low) // (STORES - 1)


def _product(index: int, number: int) -> tuple[str, Decimal, random.Random]:
    dice = _dice("product", index, number)
    _, nouns = TRADES[index % len(TRADES)]
    title = f"{_pick(dice, nouns)} {_pick(dice, KINDS)} {number + 1}"
    return title, Decimal(199 + _up_to(dice, 14_800)).scaleb(-2), dice


def _basket(dice: random.Random, goods: Sequence[object]) -> list[int]:
    wanted = (1, 1, 1, 1, 1, 2, 2, 2, 3, 5)
    return sorted({_up_to(dice, len(goods)) for _ in range(_pick(dice, wanted))})


def _busy_store(dice: random.Random) -> int:
    """Some stores sell far more than others, as they do in life."""
    return int(STORES * dice.random() ** 1.2)


def _line(number: int, title: str, quantity: int, price: Decimal) -> Item:
    return {
        "M": {
            "product_id": _s(product_id(number)),
            "title": _s(title),
            "quantity": _n(quantity),
            "unit_price": _n(price),
        }
    }


def _customer(dice: random.Random, number: int) -> Item:
    name = f"{_pick(dice, FIRST_NAMES)} {_pick(dice, OWNERS)}"
    email = f"customer{_up_to(dice, 5_000)}@mail.example"
    customer = {"name": _s(name), "email": _s(email)}
    if number % 4:
        customer["address"] = _address(dice)
    return {"M": customer}


def _address(dice: random.Random) -> Item:
    city, postcode, country = _pick(dice, CITIES)
    return {
        "M": {
            "street": _s(f"{_pick(dice, STREETS)} {1 + _up_to(dice, 120)}"),
            "extra": _s("" if dice.random() < 0.7 else "c/o Müller"),
            "postcode": _s(postcode),
            "city": _s(city),
            "country": _s(country),
        }
    }


def _item(store: str, object_id: str, value: Item) -> Item:
    return {"store_id": _s(store), "object_id": _s(object_id), "object_value": {"M": value}}


def _s(text: str) -> Item:
    return {"S": text}


def _n(number: int | Decimal) -> Item:
    """A number as DynamoDB gives it back: without trailing zeros."""
    if isinstance(number, int):
        return {"N": str(number)}
    text = str(number)
    return {"N": text.rstrip("0").rstrip(".") if "." in text else text}


def _dice(*what: object) -> random.Random:
    return random.Random(f"{SEED}/{what}")


def _digest(*what: object) -> bytes:
    return hashlib.sha256(f"{SEED}/{what}".encode()).digest()


# Only random() is promised to give the same numbers in every version of Python.
def _up_to(dice: random.Random, limit: int) -> int:
    return int(dice.random() * limit)


def _pick(dice: random.Random, choices: Sequence[T]) -> T:
    return choices[_up_to(dice, len(choices))]
