"""An item of a table as a mapping of plain Python values, exact to the last digit and byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from decimal import Decimal
from typing import Any, TypeAlias

from fearless.data.canonical import binary, item_bytes

Typed = dict[str, Any]


def decode(value: Mapping[str, Any]) -> Any:
    """The plain Python value of a typed one: `{"N": "1.50"}` -> `Decimal("1.50")`.

    Binary is read as bytes (boto3) and as base64 text (the wire); both give bytes.
    """
    ((kind, raw),) = value.items()
    match kind:
        case "S" | "BOOL":
            return raw
        case "N":
            return Decimal(raw)
        case "B":
            return binary(raw)
        case "NULL":
            return None
        case "L":
            return [decode(member) for member in raw]
        case "M":
            return {name: decode(member) for name, member in raw.items()}
        case "SS":
            return set(raw)
        case "NS":
            return {Decimal(member) for member in raw}
        case "BS":
            return {binary(member) for member in raw}
        case _:
            raise TypeError(f"{kind!r} is not a DynamoDB type")


Place: TypeAlias = "str | tuple[Place, str | int]"
"""Where a value is: a name, or a place and what follows it. Put into words only if need be."""


def encode(value: Any, where: Place = "the value") -> dict[str, Any]:
    """The typed form of a plain value. Raises TypeError or ValueError naming `where`.

    Floats are refused: they are not exact. An empty set is refused: it has no type.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | Decimal():
            return {"N": _number(value, where)}
        case bytes() | bytearray() | memoryview():
            return {"B": bytes(value)}
        case list():
            return {"L": [encode(member, (where, i)) for i, member in enumerate(value)]}
        case set() | frozenset():
            return _encode_set(value, where)
        case Mapping():
            for name in value:
                if not isinstance(name, str):
                    kind = type(name).__name__
                    raise TypeError(f"{_words(where)}: the names in a map are strings, not {kind}")
            return {"M": {name: encode(v, (where, name)) for name, v in value.items()}}
        case float():
            raise TypeError(f"{_words(where)} is a float, which is not exact: use int or Decimal")
        case _:
            raise TypeError(
                f"{_words(where)} is a {type(value).__name__}: an item holds str, int, Decimal, "
                "bytes, bool, None, list, dict or set"
            )


def _number(value: int | Decimal, where: Place) -> str:
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"{_words(where)} is not a finite number")
    return str(value)


def _encode_set(value: set[Any] | frozenset[Any], where: Place) -> dict[str, Any]:
    if not value:
        raise ValueError(f"{_words(where)} is an empty set, which DynamoDB cannot store: remove it")
    if all(isinstance(member, str) for member in value):
        return {"SS": sorted(value)}
    if all(isinstance(member, bytes) for member in value):
        return {"BS": sorted(value)}
    if all(isinstance(m, (int, Decimal)) and not isinstance(m, bool) for m in value):
        return {"NS": [_number(member, where) for member in sorted(value)]}
    raise TypeError(
        f"{_words(where)} is a set that is not all str, all numbers (no float), or all bytes"
    )


def _words(where: Place) -> str:
    if isinstance(where, str):
        return where
    outer, inner = where
    return _words(outer) + (f".{inner}" if isinstance(inner, str) else f"[{inner}]")


class Item(MutableMapping[str, Any]):
    """One item. Reading decodes, setting encodes, and what is not touched stays as it was.

    A nested value that was read is a copy: change it, then set it again.
    """

    __slots__ = ("typed",)

    def __init__(self, typed: Typed | None = None) -> None:
        self.typed: Typed = {} if typed is None else typed

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Item:
        """An item of plain Python values."""
        item = cls()
        item.update(values)
        return item

    def copy(self) -> Item:
        """Another item with the same attributes; changing one leaves the other alone."""
        return Item(dict(self.typed))

    def __getitem__(self, name: str) -> Any:
        return decode(self.typed[name])

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"attribute names are strings, not {type(name).__name__}")
        if value.__class__ is str:
            self.typed[name] = {"S": value}
        elif value.__class__ is int:
            self.typed[name] = {"N": str(value)}
        else:
            self.typed[name] = encode(value, f"attribute {name!r}")

    def __delitem__(self, name: str) -> None:
        del self.typed[name]

    def __contains__(self, name: object) -> bool:
        return name in self.typed

    def __iter__(self) -> Iterator[str]:
        return iter(self.typed)

    def __len__(self) -> int:
        return len(self.typed)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove the attribute and return its plain value (or `default`)."""
        if name in self.typed or not default:
            return decode(self.typed.pop(name))
        return default[0]

    def rename(self, old: str, new: str) -> None:
        """Move an attribute to another name, its value bit for bit as it was."""
        self.typed[new] = self.typed.pop(old)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Item):
            return self.typed == other.typed or item_bytes(self.typed) == item_bytes(other.typed)
        if isinstance(other, Mapping):
            return dict(self.items()) == dict(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Item({dict(self.items())!r})"
