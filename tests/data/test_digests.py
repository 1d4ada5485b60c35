"""Digests of a table: order does not matter, and they survive being stored."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fearless.data.digests import Buckets, of_items
from fearless.data.tables import TableInfo
from tests.data.strategies import few_items

INFO = TableInfo("t", "i", "a", None, None, ("id",), {"id": "S", "by": "N"}, 0, 0)


@given(st.lists(few_items, max_size=4), st.randoms(use_true_random=False))
def test_digests_do_not_depend_on_order(found: list[Any], rng: random.Random) -> None:
    keyed = [{**item, "id": {"S": f"k{n}"}} for n, item in enumerate(found)]
    first = of_items(INFO, keyed, 8)
    mixed = [dict(rng.sample(list(item.items()), len(item))) for item in keyed]
    rng.shuffle(mixed)
    assert not first.unequal(of_items(INFO, mixed, 8))
    if keyed:
        changed = [*keyed[1:], {**keyed[0], "more": {"NULL": True}}]
        assert first.unequal(of_items(INFO, changed, 8))
        assert first.unequal(of_items(INFO, keyed[1:], 8))


def test_equal_items_do_not_cancel_out() -> None:
    item = {"id": {"S": "a"}}
    assert of_items(INFO, [], 4).unequal(of_items(INFO, [item, item], 4))


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 16))
def test_parts_add_up_and_survive_packing(keys: list[int], size: int) -> None:
    made = [{"id": {"S": str(key)}, "n": {"N": str(n)}} for n, key in enumerate(keys)]
    whole = of_items(INFO, made, size)
    parts = [of_items(INFO, made[n::3], size) for n in range(3)]
    merged = Buckets(size).merge(Buckets.unpack(part.pack()) for part in parts)
    assert (merged.size, merged.counts, merged.sums) == (whole.size, whole.counts, whole.sums)
    assert merged.total == len(keys)


def test_a_packed_row_fits_a_state_item() -> None:
    rng = random.Random(1)
    buckets = Buckets(8192)
    assert len(buckets.pack()) < 100
    buckets.counts = [rng.randrange(1, 10**6) for _ in range(8192)]
    buckets.sums = [rng.randrange(1 << 128) for _ in range(8192)]
    packed = buckets.pack()
    assert len(packed) < 200_000
    again = Buckets.unpack(packed)
    assert (again.counts, again.sums) == (buckets.counts, buckets.sums)


def test_keys_spread_evenly() -> None:
    buckets = of_items(INFO, [{"id": {"S": f"user#{n}"}} for n in range(4096)], 64)
    assert min(buckets.counts) > 32
    assert max(buckets.counts) < 128
