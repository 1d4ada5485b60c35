"""An item's key on its way from the source table to the target, where it may have other names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from fearless.data.canonical import binary, value_bytes
from fearless.data.contract import Contract
from fearless.data.items import Item
from fearless.data.tables import TableInfo, Typed
from fearless.interfaces import Transform

Key = tuple[Any, ...]
"""The typed values of a key, hash key first."""


def same(one: Key, other: Key) -> bool:
    """True for equal keys: `1` is `1.0`, and bytes are their base64 text."""
    return one == other or (
        len(one) == len(other)
        and all(
            a == b or (a.keys() == b.keys() and value_bytes(a) == value_bytes(b))
            for a, b in zip(one, other, strict=True)
        )
    )


class Keys:
    """The key of an item in a chain of transforms, the first of which sees the source's names."""

    def __init__(self, source: TableInfo, target: TableInfo) -> None:
        self._source = source
        self._target = target
        self.renamed = source.keys != target.keys

    def of(self, item: Mapping[str, Any]) -> Key:
        """By the target's names, else by the source's. Raises Contract when one is missing."""
        for names in (self._target.keys, self._source.keys):
            if all(name in item for name in names):
                return tuple([item[name] for name in names])
        missing = [name for name in self._target.keys if name not in item]
        raise Contract(f"key attribute {missing[0]!r} missing")

    def of_source(self, item: Mapping[str, Any]) -> Key:
        """The key of a source item. Raises Contract when an attribute is missing."""
        for name in self._source.keys:
            if name not in item:
                raise Contract(f"key attribute {name!r} missing")
        return tuple([item[name] for name in self._source.keys])

    def owner(self, transform: Transform, output: Key) -> Key:
        """The key that an owned transform says an output comes from."""
        if transform.owner is None:
            raise Contract("there is no owner function")
        return self.of(transform.owner(Item(self.in_target(output))).typed)

    def in_source(self, key: Sequence[Any]) -> Typed:
        """The key with the names it has in the source."""
        return dict(zip(self._source.keys, key, strict=True))

    def in_target(self, key: Sequence[Any]) -> Typed:
        """The key with the names it has in the target."""
        return dict(zip(self._target.keys, key, strict=True))


def identity(key: Key) -> bytes:
    """One byte string for equal keys."""
    return b"\0".join([value_bytes(value) for value in key])


def in_order(items: Iterable[Item], key_of: Callable[[Mapping[str, Any]], Key]) -> list[Item]:
    """The items as a Query returns them: by hash key, then by range key."""
    return sorted(items, key=lambda item: [_rank(value) for value in key_of(item.typed)])


def _rank(value: Mapping[str, Any]) -> Any:
    ((kind, raw),) = value.items()
    if kind == "N":
        return Decimal(raw)
    return binary(raw) if kind == "B" else raw.encode("utf-8", "surrogatepass")
