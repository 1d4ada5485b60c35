"""The shape of the shop's items: the only module that knows it. Version 2.

Every item is `store_id`, `object_id`, `object_value` (a map); items of test stores also
carry `test`. An order is one item with the order's id, which says how many lines it has, and
one item for each of them, `<order id>#line#<nnn>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from shop.model import Customer, Line, Order, Product, Store, is_test, money

VERSION = 2
Item = dict[str, Any]

STORE = "profile"
LINE = "#line#"


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
        "email": store.email,
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
        email=value.get("email", ""),
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
        "line_count": len(order.lines),
    }
    return [
        _item(store_id, order.id, value),
        *(
            _item(
                store_id,
                line_id,
                {
                    "product_id": line.product_id,
                    "title": line.title,
                    "quantity": line.quantity,
                    "unit_price": line.unit_price,
                },
            )
            for line_id, line in zip(
                _line_ids(order.id, len(order.lines)), order.lines, strict=True
            )
        ),
    ]


def line_ids(item: Item) -> list[str]:
    """The object_ids of the other items of an order."""
    return _line_ids(item["object_id"], int(item["object_value"]["line_count"]))


def _line_ids(order_id: str, count: int) -> list[str]:
    return [f"{order_id}{LINE}{position:03d}" for position in range(count)]


def read_orders(items: Iterable[Item]) -> Iterator[Order]:
    """The orders in items sorted by object_id, in either direction."""
    for order_id, group in groupby(items, key=lambda item: item["object_id"].split(LINE)[0]):
        parts = {item["object_id"]: item for item in group}
        item = parts.pop(order_id, None)
        if item is not None:
            yield read_order(item, parts.values())


def read_order(item: Item, others: Iterable[Item]) -> Order:
    """The order that an item and its lines' items hold."""
    value = item["object_value"]
    customer = value["customer"]
    lines = sorted(others, key=lambda line: str(line["object_id"]))
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
            for line in (other["object_value"] for other in lines)
        ),
        note=value.get("note", ""),
    )
