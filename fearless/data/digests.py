"""Digests of a whole table that do not depend on order: a count and a sum for each bucket."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from zlib import crc32

from fearless.data.canonical import DIGEST_SIZE, MODULUS, digest
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
        bucket = crc32(key_id) % self.size
        self.counts[bucket] += 1
        self.sums[bucket] = (self.sums[bucket] + digest(item)) % MODULUS

    def bucket(self, key_id: bytes) -> int:
        """Where a key belongs."""
        return crc32(key_id) % self.size

    def merge(self, others: Iterable[Buckets]) -> Buckets:
        """Add what others counted."""
        for other in others:
            for index, count in enumerate(other.counts):
                if count or other.sums[index]:
                    self.counts[index] += count
                    self.sums[index] = (self.sums[index] + other.sums[index]) % MODULUS
        return self

    def pack(self) -> bytes:
        """All of it as bytes: at most 28 for each bucket in use, and 100."""
        used = [n for n in range(self.size) if self.counts[n] or self.sums[n]]
        columns = [
            struct.pack(f">II{len(used)}I", self.size, len(used), *used),
            struct.pack(f">{len(used)}Q", *(self.counts[n] for n in used)),
            *(self.sums[n].to_bytes(DIGEST_SIZE, "big") for n in used),
        ]
        return zlib.compress(b"".join(columns), level=1)

    @classmethod
    def unpack(cls, data: bytes) -> Buckets:
        """What `pack` gave."""
        raw = memoryview(zlib.decompress(data))
        size, count = struct.unpack_from(">II", raw)
        used = struct.unpack_from(f">{count}I", raw, 8)
        counts = struct.unpack_from(f">{count}Q", raw, 8 + 4 * count)
        sums = raw[8 + 12 * count :]
        buckets = cls(size)
        for place, bucket in enumerate(used):
            buckets.counts[bucket] = counts[place]
            one = sums[place * DIGEST_SIZE : (place + 1) * DIGEST_SIZE]
            buckets.sums[bucket] = int.from_bytes(one, "big")
        return buckets

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
