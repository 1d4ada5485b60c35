"""The shop's data migrations, from version 1 to version 2. Written to be copied from.

`up(item)` gets an item as a mapping of plain Python values (numbers are Decimal) and returns
what the new release should find: the item, None to drop it, or several items. Copying and
syncing call it alike, often more than once for one item, so it is pure, and leaves alone
what is migrated already. A nested value that was read is a copy: change it, set it again.
"""

from __future__ import annotations

from collections.abc import Iterable

from fearless import Transform, hookimpl
from fearless.data.items import Item

LINE = "#line#"


@hookimpl
def transforms() -> list[Transform]:
    """Oldest first: what the live data has been through already is not run again."""
    return [
        Transform("drop-carts", tables=("orders",), up=drop_carts),
        Transform("rename-mail", tables=("stores",), up=rename_mail),
        Transform("split-orders", ("orders",), split_order, kind="owned", owner=owning_order),
    ]


def drop_carts(item: Item) -> Item | None:
    """Drop obsolete items: carts people left behind."""
    return None if item["object_id"].startswith("cart#") else item


def rename_mail(item: Item) -> Item:
    """Rename an attribute: a store's `mail` is called `email`, as everywhere else."""
    value = item["object_value"]
    if "mail" not in value:
        return item
    migrated = item.copy()
    value["email"] = value.pop("mail")
    migrated["object_value"] = value
    return migrated


def split_order(item: Item) -> Iterable[Item]:
    """Split one item into several: an order, and each of its lines as an item of its own."""
    value = item["object_value"]
    if "lines" not in value:
        return [item]
    order = item.copy()
    lines = value.pop("lines")
    value["line_count"] = len(lines)
    order["object_value"] = value
    return [order, *(_line(item, position, line) for position, line in enumerate(lines))]


def owning_order(item: Item) -> Item:
    """The key of the order that an item made by `split_order` comes from."""
    order_id = item["object_id"].partition(LINE)[0]
    return Item.of({"store_id": item["store_id"], "object_id": order_id})


def _line(order: Item, position: int, line: dict[str, object]) -> Item:
    item = order.copy()
    item["object_id"] = f"{order['object_id']}{LINE}{position:03d}"
    item["object_value"] = line
    return item
