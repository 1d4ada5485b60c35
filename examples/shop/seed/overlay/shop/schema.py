"""The shape of the shop's items: the only module that knows it. Version 1.

Every item is `store_id`, `object_id`, `object_value` (a map); items of test stores also
carry `test`. An order is one item that holds its lines. A store's address for mail is
called `mail`. Carts people left behind lie among the orders as `cart#...`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shop.model import Customer, Line, Order, Product, Store, is_test, money

VERSION = 1
Item = dict[str, Any]

STORE = "profile"


def key(store_id: str, object_id: str) -> Item:
    """The primary key of any item."""
    return {"store_id": store_id, "object_id": object_id}


def _item(store_id: str, object_id: str, value: dict[str, Any]) -> Item:
    marker = {"test": True} if is_test(store_id) else {}
    return {**key(store_id, object_id), "object_value": value, **marker}


def store_item(store: Store) -> Item:
    """The item a store is kept as."""
    value = {
        "name": store.name,
        "mail": store.email,
        "phone": store.phone,
        "currency": store.currency,
        "description": store.description,
        "products": store.products,
    }
    if store.address is not None:
        value["address"] = dict(store.address)
    return _item(store.id, STORE, value)


def read_store(item: Item) -> Store:
    """The store an item holds."""
    value = item["object_value"]
    return Store(
        id=item["store_id"],
        name=value["name"],
        email=value.get("mail", ""),
        phone=value.get("phone", ""),
        address=value.get("address"),
        currency=value.get("currency", "EUR"),
        description=value.get("description", ""),
        products=int(value.get("products", 0)),
    )


def product_item(store_id: str, product: Product) -> Item:
    """The item a product is kept as."""
    value: dict[str, Any] = {
        "title": product.title,
        "price": product.price,
        "stock": product.stock,
        "description": product.description,
    }
    if product.tags:
        value["tags"] = set(product.tags)
    if product.thumbnail:
        value["thumbnail"] = bytes.fromhex(product.thumbnail)
    return _item(store_id, product.id, value)


def read_product(item: Item) -> Product:
    """The product an item holds."""
    value = item["object_value"]
    return Product(
        id=item["object_id"],
        title=value["title"],
        price=money(value["price"]),
        stock=int(value.get("stock", 0)),
        tags=tuple(sorted(value.get("tags", ()))),
        description=value.get("description", ""),
        thumbnail=bytes(value.get("thumbnail", b"")).hex(),
    )


def order_items(store_id: str, order: Order) -> list[Item]:
    """The items an order is kept as; the one with the order's own id comes first."""
    customer: dict[str, Any] = {"name": order.customer.name, "email": order.customer.email}
    if order.customer.address is not None:
        customer["address"] = dict(order.customer.address)
    value = {
        "number": int(order.number),
        "placed_at": order.placed_at,
        "status": order.status,
        "customer": customer,
        "currency": order.currency,
        "total": order.total,
        "note": order.note,
        "lines": [
            {
                "product_id": line.product_id,
                "title": line.title,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
            }
            for line in order.lines
        ],
    }
    return [_item(store_id, order.id, value)]


def line_ids(item: Item) -> list[str]:
    """The object_ids of the other items of an order: it has none."""
    return []


def read_orders(items: Iterable[Item]) -> Iterator[Order]:
    """The orders in items sorted by object_id, in either direction."""
    for item in items:
        if "#" not in item["object_id"]:
            yield read_order(item, ())


def read_order(item: Item, others: Iterable[Item]) -> Order:
    """The order an item holds."""
    value = item["object_value"]
    customer = value["customer"]
    return Order(
        id=item["object_id"],
        number=str(value["number"]),
        placed_at=value["placed_at"],
        status=value["status"],
        customer=Customer(customer["name"], customer["email"], customer.get("address")),
        currency=value["currency"],
        total=money(value["total"]),
        lines=tuple(
            Line(
                product_id=line["product_id"],
                title=line["title"],
                quantity=int(line["quantity"]),
                unit_price=money(line["unit_price"]),
            )
            for line in value["lines"]
        ),
        note=value.get("note", ""),
    )
