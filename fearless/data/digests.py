"""Digests of a whole table that do not depend on order: a count and a sum for each bucket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fearless.data.canonical import MODULUS, digest, short_hash
from fearless.data.tables import TableInfo, Typed


class Buckets:
    """`count` and `sum mod 2^128` of the items whose key falls into each bucket.

    A sum, not an exclusive or: two equal items would cancel out.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.counts = [0] * size
        self.sums = [0] * size

    def add(self, key_id: bytes, item: Typed) -> None:
        """Count one item in."""
        bucket = self.bucket(key_id)
        self.counts[bucket] += 1
        self.sums[bucket] = (self.sums[bucket] + digest(item)) % MODULUS

    def bucket(self, key_id: bytes) -> int:
        """Where a key belongs."""
        return short_hash(key_id) % self.size

    def merge(self, others: Iterable[Buckets]) -> Buckets:
        """Add what others counted."""
        for other in others:
            for index, count in enumerate(other.counts):
                if count or other.sums[index]:
                    self.counts[index] += count
                    self.sums[index] = (self.sums[index] + other.sums[index]) % MODULUS
        return self

    @property
    def total(self) -> int:
        """Items counted."""
        return sum(self.counts)

    def unequal(self, other: Buckets) -> frozenset[int]:
        """The buckets that differ."""
        return frozenset(
            index
            for index in range(self.size)
            if self.counts[index] != other.counts[index] or self.sums[index] != other.sums[index]
        )


def of_items(info: TableInfo, items: Sequence[Typed], size: int) -> Buckets:
    """The digests of some typed items."""
    buckets = Buckets(size)
    for item in items:
        buckets.add(info.key_id(item), item)
    return buckets
