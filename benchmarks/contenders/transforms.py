"""The transforms of the benchmarks; named in a run's job, so workers can load them."""

from __future__ import annotations

from collections.abc import Sequence

from fearless.data.items import Item
from fearless.interfaces import Transform


def rename(item: Item) -> Item:
    """Rename one attribute, compute another from a third."""
    item.rename("title", "name")
    item["cents"] = int(item["price"] * 100)
    return item


RENAME = Transform("rename", ("items",), rename)


def chosen(renaming: bool) -> Sequence[Transform]:
    """The keep-key transform, or none (identity)."""
    return (RENAME,) if renaming else ()
