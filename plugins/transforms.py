"""The shop's data migrations, from version 1 to version 2. Written to be copied from.

`up(item)` gets an item as a mapping of plain Python values (numbers are Decimal) and returns
what the new release should find: the item, None to drop it, or several items. Copying and
syncing call it alike, often more than once for one item, so it is pure, and leaves alone
what is migrated already. A nested value that was read is a copy: change it, set it again.

`down` is the way back, for `doit rollback`: it gets what the new release has now, and `old`,
which is the item as the old release still has it (None if it never had one), and returns what
the old release should find. Where `up` forgets something, `old` may still know it.
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
        Transform("drop-carts", tables=("orders",), up=drop_carts, down=as_it_is),
        Transform("rename-mail", tables=("stores",), up=rename_mail, down=rename_email),
        Transform(
            "split-orders",
            tables=("orders",),
            up=split_order,
            down=join_order,
            kind="owned",
            owner=owning_order,
            prefix=order_prefix,
        ),
    ]


def drop_carts(item: Item) -> Item | None:
    """Drop obsolete items: carts people left behind."""
    return None if item["object_id"].startswith("cart#") else item


def as_it_is(item: Item, _old: Item | None) -> Item:
    """The way back of what only drops: the old release still has what was dropped."""
    return item


def rename_mail(item: Item) -> Item:
    """Rename an attribute: a store's `mail` is called `email`, as everywhere else."""
    value = item["object_value"]
    if "mail" not in value:
        return item
    migrated = item.copy()
    value["email"] = value.pop("mail")
    migrated["object_value"] = value
    return migrated


def rename_email(item: Item, _old: Item | None) -> Item:
    """The way back of `rename_mail`."""
    value = item["object_value"]
    if "email" not in value:
        return item
    value["mail"] = value.pop("email")
    item["object_value"] = value
    return item


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


def join_order(items: list[Item], _old: Item | None) -> Item | None:
    """The way back of `split_order`: all items of one order as the one there was."""
    lines = sorted((item for item in items if LINE in item["object_id"]), key=_position)
    orders = [item for item in items if LINE not in item["object_id"]]
    if not orders:
        return None
    value = orders[0]["object_value"]
    if value.pop("line_count", None) is not None:
        value["lines"] = [line["object_value"] for line in lines]
        orders[0]["object_value"] = value
    return orders[0]


def owning_order(item: Item) -> Item:
    """The key of the order that an item made by `split_order` comes from."""
    order_id = item["object_id"].partition(LINE)[0]
    return Item.of({"store_id": item["store_id"], "object_id": order_id})


def order_prefix(key: Item) -> str:
    """What the sort keys of all items begin with that `split_order` makes of an order."""
    return str(key["object_id"])


def _position(line: Item) -> int:
    return int(line["object_id"].partition(LINE)[2])


def _line(order: Item, position: int, line: dict[str, object]) -> Item:
    item = order.copy()
    item["object_id"] = f"{order['object_id']}{LINE}{position:03d}"
    item["object_value"] = line
    return item
