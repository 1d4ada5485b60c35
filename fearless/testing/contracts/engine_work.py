"""What the suite of copy engines migrates with: slow enough to be caught in the middle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fearless.interfaces import Transform

if TYPE_CHECKING:
    from fearless.data.items import Item

LOADER = f"{__name__}:transforms"
DELAY = 0.003
"""Seconds for each item."""


def slowly(item: Item) -> Item:
    """The item as it is, after a while."""
    time.sleep(DELAY)
    return item


def transforms() -> Sequence[Transform]:
    """What the workers of the suite's job load."""
    return (Transform("slowly", ("orders",), slowly),)
