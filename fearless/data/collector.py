"""Look for garbage rarely while pages come and go: many thousands of objects, and no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLD = 50_000


@contextmanager
def rarely() -> Iterator[None]:
    """Within the block Python walks what is alive a hundredth as often.

    The default walks each page again and again: a quarter of the CPU of a copy. Memory stays as it
    is, because a page is freed by its reference count.
    """
    before = gc.get_threshold()
    if before[0] == 0 or before[0] >= THRESHOLD:
        yield
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
