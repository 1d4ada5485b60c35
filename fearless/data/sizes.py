"""Sizes of items, and how to say them."""

from __future__ import annotations

from fearless.data.fast import bound
from fearless.data.tables import Typed
from fearless.data.validate import Invalid, size


def bytes_of(item: Typed) -> int:
    """The item's size by DynamoDB's rule; an estimate for what is no valid item."""
    try:
        return size(item)
    except Invalid:
        return bound(item)


def human(count: int) -> str:
    """Bytes for people: `1.5 KB`."""
    if count < 1024:
        return f"{count:,} bytes"
    number = count / 1024
    for unit in ("KB", "MB"):
        if number < 1024:
            return f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} GB"
