"""One byte string for equal items: what digests, comparisons and key identities are made of.

It is the item's JSON with sorted names, in which every number, set and binary value has one
spelling. Most items come spelled that way, so they are only looked over, not rebuilt.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import orjson

_NORMAL = r"(?:0|-?[1-9][0-9]*(?:\.[0-9]*[1-9])?|-?0\.[0-9]*[1-9])"
_PLAIN = re.compile(_NORMAL + r"\Z")
_ODD_NUMBER = re.compile(rb'"N":"(?!' + _NORMAL.encode() + rb'")')
_LARGEST = 400
DIGEST_SIZE = 16
MODULUS = 1 << (8 * DIGEST_SIZE)


def number(text: str) -> str:
    """The one spelling of a number: `1E+2`, `100.0` and `100` all give `100`. Exact."""
    if _PLAIN.match(text):
        return text
    value = Decimal(text)
    sign, figures, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("not a finite number")  # noqa: TRY004 - it is the value
    if not any(figures):
        return "0"
    if abs(value.adjusted()) > _LARGEST or len(figures) > _LARGEST:
        digits = "".join(map(str, figures)).rstrip("0")
        return f"{'-' if sign else ''}{digits}e{exponent + len(figures) - len(digits)}"
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def binary(raw: Any) -> bytes:
    """The bytes of a binary value: base64 text (the wire) or bytes (boto3). Raises ValueError."""
    return b64decode(raw, validate=True) if isinstance(raw, str) else bytes(raw)


def value_bytes(value: Mapping[str, Any]) -> bytes:
    """The canonical form of one typed value; unequal values never share one."""
    return _dump(value, _normal_value)


def item_bytes(item: Mapping[str, Any]) -> bytes:
    """The canonical form of a whole typed item: the order of attributes does not matter."""
    return _dump(item, _normal_item)


def digest(item: Mapping[str, Any]) -> int:
    """128 bits of the item, as a number, so that digests can be summed."""
    return int.from_bytes(blake2b(item_bytes(item), digest_size=DIGEST_SIZE).digest(), "big")


def short_hash(data: bytes) -> int:
    """64 bits that spread keys over buckets."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def _dump(typed: Mapping[str, Any], normal: Any) -> bytes:
    """JSON holds an unescaped quote only around a name or a string, and a name followed by a
    string or a list is always a type, never an attribute: attributes are maps of a type."""
    try:
        data = orjson.dumps(typed, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return _dump_odd(normal(typed))
    if b'"B":"' in data or b'S":[' in data or (b'"N":"' in data and _ODD_NUMBER.search(data)):
        return _dump_odd(normal(typed))
    return data


def _dump_odd(typed: Any) -> bytes:
    try:
        return orjson.dumps(typed, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        text = json.dumps(typed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")


def _normal_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _normal_value(value) for name, value in item.items()}


def _normal_value(value: Mapping[str, Any]) -> dict[str, Any]:
    for kind, raw in value.items():
        match kind:
            case "S" | "BOOL" | "NULL":
                return {kind: raw}
            case "N":
                return {"N": number(raw)}
            case "B":
                return {"B": b64encode(binary(raw)).decode()}
            case "M":
                return {"M": _normal_item(raw)}
            case "L":
                return {"L": [_normal_value(member) for member in raw]}
            case "SS":
                return {"SS": sorted(raw)}
            case "NS":
                return {"NS": sorted(map(number, raw))}
            case "BS":
                return {"BS": sorted(b64encode(binary(member)).decode() for member in raw)}
    raise TypeError(f"not a typed value: {sorted(value)}")
