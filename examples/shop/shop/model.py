"""What a shop is made of: stores, products, orders. Plain values, no storage, no HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

STATUSES = ("placed", "paid", "shipped", "delivered", "returned")
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Store:
    """A tenant. `products` is how many it offers."""

    id: str
    name: str
    email: str
    phone: str = ""
    address: Mapping[str, str] | None = None
    currency: str = "EUR"
    description: str = ""
    products: int = 0


@dataclass(frozen=True)
class Product:
    """Something a store sells. `thumbnail` is the hex digest of its picture."""

    id: str
    title: str
    price: Decimal
    stock: int = 0
    tags: tuple[str, ...] = ()
    description: str = ""
    thumbnail: str = ""


@dataclass(frozen=True)
class Line:
    """So many pieces of one product, at the price it had when the order was placed."""

    product_id: str
    title: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True)
class Customer:
    """Who ordered, and where it goes."""

    name: str
    email: str
    address: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Order:
    """An order. Its `id` is chosen by the client, so that sending it twice is sending it once.

    `number` is a text of digits: clients that read JSON numbers as floats would spoil it.
    """

    id: str
    number: str
    placed_at: str
    status: str
    customer: Customer
    currency: str
    total: Decimal
    lines: tuple[Line, ...]
    note: str = ""


def is_test(store_id: str) -> bool:
    """Whether the store holds test data, which lives beside real data and is never listed."""
    return store_id.startswith("test-")


def money(amount: Decimal) -> Decimal:
    """The amount in whole cents: DynamoDB forgets trailing zeros."""
    return amount.quantize(CENT)


def total(lines: tuple[Line, ...]) -> Decimal:
    """What the lines cost together."""
    return money(sum((line.unit_price * line.quantity for line in lines), Decimal(0)))


def order_number(store_id: str, order_id: str) -> str:
    """The number printed on the invoice: 24 digits, the same for the same order."""
    digest = hashlib.sha256(f"{store_id}/{order_id}".encode()).digest()
    return str(10**23 + int.from_bytes(digest[:9], "big"))
