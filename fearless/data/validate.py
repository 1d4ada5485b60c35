"""DynamoDB's own rules for an item, checked here so that one bad item cannot reject a batch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fearless.data.canonical import binary, number, value_bytes
from fearless.data.tables import TableInfo

MAX_ITEM = 400 * 1024
MAX_NAME = 64 * 1024 - 1
MAX_DEPTH = 32
MAX_DIGITS = 38
MAX_TEXT = 1000
MAX_HASH = 2048
MAX_RANGE = 1024

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?\Z")


class Invalid(ValueError):
    """The item breaks a rule; the message is the rule, and never shows a value."""


def check(item: Mapping[str, Any], table: TableInfo) -> None:
    """Raise Invalid if the table would not take the typed item."""
    for name, limit in zip(table.keys, (MAX_HASH, MAX_RANGE), strict=False):
        check_key(item, name, table.types[name], limit)
    for name, kind in table.types.items():
        if name in item and name not in table.keys:
            check_index_key(item[name], name, kind, table.limits.get(name, MAX_HASH))
    if size(item) > MAX_ITEM:
        raise Invalid("item over 400 KB")


def check_key(item: Mapping[str, Any], name: str, kind: str, limit: int) -> None:
    """Raise Invalid unless the item has a key attribute of this type and at most `limit` bytes."""
    if name not in item:
        raise Invalid(f"key attribute {name!r} missing")
    _check_key_value(item[name], f"key attribute {name!r}", kind, limit)


def check_index_key(value: Mapping[str, Any], name: str, kind: str, limit: int) -> None:
    """Raise Invalid unless the value may be a key of an index."""
    _check_key_value(value, f"index key {name!r}", kind, limit)


def _check_key_value(value: Mapping[str, Any], what: str, kind: str, limit: int) -> None:
    found, _ = _typed(value)
    if found != kind:
        raise Invalid(f"{what} is of type {found}, not {kind}")
    if kind != "N":
        length = value_size(value)
        if not length:
            raise Invalid(f"{what} empty")
        if length > limit:
            raise Invalid(f"{what} over {limit} bytes")


def size(item: Mapping[str, Any]) -> int:
    """The item's size by DynamoDB's rule, in bytes; checks every value on the way."""
    total = 0
    for name, value in item.items():
        total += name_size(name) + value_size(value)
    return total


def name_size(name: str) -> int:
    """The size of an attribute's name in bytes. Raises Invalid."""
    length = _text_size(name)
    if not 0 < length <= MAX_NAME:
        raise Invalid("attribute name over 64 KB" if length else "attribute name empty")
    return length


def value_size(value: Mapping[str, Any], depth: int = 0) -> int:
    """The size of one typed value that is `depth` lists or maps deep. Raises Invalid."""
    kind, raw = _typed(value)
    if kind == "S":
        return len(raw) if raw.__class__ is str and raw.isascii() else _text_size(raw)
    if kind == "N":
        return number_size(raw)
    if kind == "M" or kind == "L":
        return _nested_size(kind, raw, depth)
    if kind == "BOOL" or kind == "NULL":
        if raw is not True and (kind == "NULL" or raw is not False):
            raise Invalid("not a typed value")
        return 1
    if kind == "B":
        return _binary_size(raw)
    if kind in ("SS", "NS", "BS"):
        return _set_size(kind, raw)
    raise Invalid("unknown type")


def _nested_size(kind: str, raw: Any, depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise Invalid(f"nested over {MAX_DEPTH} levels")
    total = 3
    if kind == "L":
        if not isinstance(raw, list):
            raise Invalid("not a typed value")
        for member in raw:
            total += 1 + value_size(member, depth + 1)
        return total
    if not isinstance(raw, dict):
        raise Invalid("not a typed value")
    for name, member in raw.items():
        total += 1 + _text_size(name) + value_size(member, depth + 1)
    return total


def _typed(value: Any) -> tuple[str, Any]:
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    raise Invalid("not a typed value")


def _text_size(text: Any) -> int:
    if not isinstance(text, str):
        raise Invalid("not a typed value")
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Invalid("text that is not valid Unicode") from None


def _binary_size(raw: Any) -> int:
    try:
        if not isinstance(raw, str | bytes | bytearray | memoryview):
            raise Invalid("not a typed value")
        return len(binary(raw))
    except ValueError:
        raise Invalid("binary that is not base64") from None


def number_size(text: Any) -> int:
    """One byte for two significant digits, one more, one for a sign. Raises Invalid.

    The service says "approximately": this is the least, as what it refuses it says itself.
    """
    if not isinstance(text, str):
        raise Invalid("not a typed value")
    if len(text) <= MAX_DIGITS and text.isdigit() and text.isascii():
        return (len(text.strip("0")) + 1) // 2 + 1
    if len(text) > MAX_TEXT or not _NUMBER.match(text):
        raise Invalid("not a number")
    try:
        plain = number(text)
    except (ValueError, ArithmeticError):
        raise Invalid("number out of range") from None
    if plain == "0":
        return 1
    mantissa, _, exponent = plain.partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).strip("0")
    if len(digits) > MAX_DIGITS:
        raise Invalid(f"number over {MAX_DIGITS} digits")
    whole = whole.lstrip("0")
    magnitude = len(whole) if whole else len(fraction.lstrip("0")) - len(fraction)
    if not -130 <= magnitude - 1 + int(exponent or 0) <= 125:
        raise Invalid("number out of range")
    return (len(digits) + 1) // 2 + 1 + plain.startswith("-")


def _set_size(kind: str, members: Any) -> int:
    if not isinstance(members, list | tuple | set | frozenset):
        raise Invalid("not a typed value")
    if not members:
        raise Invalid("empty set")
    total = 3 + sum(1 + value_size({kind[0]: member}) for member in members)
    if len({value_bytes({kind[0]: member}) for member in members}) != len(members):
        raise Invalid("set with a member twice")
    return total
