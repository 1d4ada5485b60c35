"""DynamoDB's own rules for an item, checked here so that one bad item cannot reject a batch."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fearless.data.canonical import number, value_bytes
from fearless.data.tables import TableInfo

MAX_ITEM = 400 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 38
MAX_HASH = 2048
MAX_RANGE = 1024


class Invalid(ValueError):
    """The item breaks a rule; the message is the rule, and never shows a value."""


def check(item: Mapping[str, Any], table: TableInfo) -> None:
    """Raise Invalid if the table would not take the typed item."""
    for name, limit in zip(table.keys, (MAX_HASH, MAX_RANGE), strict=False):
        _check_key(item, name, table.types[name], limit)
    for name, kind in table.types.items():
        if name in item and name not in table.keys:
            _check_index_key(item[name], name, kind)
    if size(item) > MAX_ITEM:
        raise Invalid("item over 400 KB")


def _check_key(item: Mapping[str, Any], name: str, kind: str, limit: int) -> None:
    if name not in item:
        raise Invalid(f"key attribute {name!r} missing")
    value = item[name]
    if kind not in value:
        raise Invalid(f"key attribute {name!r} is of type {next(iter(value))}, not {kind}")
    if kind != "N":
        raw = value[kind]
        length = len(raw.encode()) if kind == "S" else len(raw)
        if not length:
            raise Invalid(f"key attribute {name!r} empty")
        if length > limit:
            raise Invalid(f"key attribute {name!r} over {limit} bytes")


def _check_index_key(value: Mapping[str, Any], name: str, kind: str) -> None:
    if kind not in value:
        raise Invalid(f"index key {name!r} is of type {next(iter(value))}, not {kind}")
    if kind != "N" and not len(value[kind]):
        raise Invalid(f"index key {name!r} empty")


def size(item: Mapping[str, Any]) -> int:
    """The item's size by DynamoDB's rule, in bytes; checks every value on the way."""
    return sum(len(name.encode()) + value_size(value, 0) for name, value in item.items())


def value_size(value: Mapping[str, Any], depth: int) -> int:
    """The size of one typed value that is `depth` lists or maps deep. Raises Invalid."""
    ((kind, raw),) = value.items()
    if kind == "S":
        return len(raw) if raw.isascii() else len(_utf8(raw))
    if kind == "N":
        return number_size(raw)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "B":
        return len(raw)
    if kind in ("SS", "NS", "BS"):
        return _set_size(kind, raw)
    if depth >= MAX_DEPTH:
        raise Invalid(f"nested over {MAX_DEPTH} levels")
    if kind == "L":
        return 3 + sum(1 + value_size(member, depth + 1) for member in raw)
    if kind == "M":
        return 3 + sum(
            1 + len(_utf8(name)) + value_size(member, depth + 1) for name, member in raw.items()
        )
    raise Invalid("unknown type")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Invalid("text that is not valid Unicode") from None


def number_size(text: str) -> int:
    """One byte for two digits, one more, one for a sign. Raises Invalid."""
    if len(text) <= MAX_DIGITS and text.isdigit() and text.isascii():
        return len(text) // 2 + 2
    try:
        digits, exponent = number(text).lstrip("-").split("e")
    except (ValueError, ArithmeticError):
        raise Invalid("not a number") from None
    if len(digits) > MAX_DIGITS:
        raise Invalid(f"number over {MAX_DIGITS} digits")
    if digits != "0" and not -130 <= Decimal(f"{digits}e{exponent}").adjusted() <= 125:
        raise Invalid("number out of range")
    return (len(digits) + 1) // 2 + 1 + text.startswith("-")


def _set_size(kind: str, members: list[Any]) -> int:
    if not members:
        raise Invalid("empty set")
    if len({value_bytes({kind[0]: member}) for member in members}) != len(members):
        raise Invalid("set with a member twice")
    return 3 + sum(1 + value_size({kind[0]: member}, 0) for member in members)
