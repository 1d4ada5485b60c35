"""The item of the benchmarks: ten attributes, 330 bytes by DynamoDB's own rule."""

from __future__ import annotations

from typing import Any

SIZE = 330
KEY = ("store", "object")
Typed = dict[str, Any]

_BODY = (
    "A plain cotton shirt with long sleeves, washed once and never worn again; "
    "the left cuff misses a button that is in the pocket. "
    "Sent from the shop on the very same working day."
)


def key(number: int, page: str = "00000000") -> Typed:
    """The key of the item with that number on that page."""
    return {"store": {"S": f"store-{page}"}, "object": {"S": f"object-{number:08d}"}}


def item(number: int, page: str = "00000000", stock: int | None = None) -> Typed:
    """A typed item; the same arguments give the same item."""
    return {
        **key(number, page),
        "title": {"S": f"Shirt {number % 1000:04d}, cotton"},
        "text": {"S": _BODY},
        "price": {"N": f"{number % 90 + 10}.{number % 9}5"},
        "stock": {"N": f"{100 + (number if stock is None else stock) % 900}7"},
        "listed": {"BOOL": number % 7 != 0},
        "created": {"N": f"1760{number % 100_000:05d}7"},
        "tags": {"SS": ["cotton", "shirt", f"size-{number % 9}"]},
        "place": {"M": {"shelf": {"S": f"{number % 100:02d}-B"}, "room": {"N": "12"}}},
    }
