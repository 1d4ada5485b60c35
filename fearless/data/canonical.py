"""One byte string for equal items: what digests, comparisons and key identities are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Any

_PLAIN = re.compile(r"-?[1-9][0-9]*\Z")
DIGEST_SIZE = 16
MODULUS = 1 << (8 * DIGEST_SIZE)


def number(text: str) -> str:
    """The one spelling of a number: `1E+2`, `100.0` and `100` all give `1e2`. Exact."""
    if _PLAIN.match(text):
        digits = text.rstrip("0")
        return f"{digits}e{len(text) - len(digits)}"
    sign, figures, exponent = Decimal(text).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("not a finite number")  # noqa: TRY004 - it is the value
    padded = "".join(map(str, figures)).lstrip("0")
    digits = padded.rstrip("0")
    if not digits:
        return "0e0"
    return f"{'-' if sign else ''}{digits}e{exponent + len(padded) - len(digits)}"


def value_bytes(value: Mapping[str, Any]) -> bytes:
    """The canonical form of one typed value; unequal values never share one."""
    for kind, raw in value.items():
        if kind == "S":
            body = raw.encode("utf-8", "surrogatepass")
            return b"S%d:%b" % (len(body), body)
        if kind == "N":
            body = number(raw).encode()
            return b"N%d:%b" % (len(body), body)
        if kind == "B":
            body = bytes(raw)
            return b"B%d:%b" % (len(body), body)
        if kind == "BOOL":
            return b"T" if raw else b"F"
        if kind == "NULL":
            return b"0"
        if kind == "M":
            return b"M" + item_bytes(raw)
        if kind == "L":
            return b"L%d:%b" % (len(raw), b"".join([value_bytes(member) for member in raw]))
        if kind in ("SS", "NS", "BS"):
            members = sorted(value_bytes({kind[0]: member}) for member in raw)
            return b"Z%b%d:%b" % (kind.encode(), len(members), b"".join(members))
    raise TypeError(f"not a typed value: {sorted(value)}")


def item_bytes(item: Mapping[str, Any]) -> bytes:
    """The canonical form of a whole typed item: the order of attributes does not matter."""
    parts = [b"%d:" % len(item)]
    for name in sorted(item):
        encoded = name.encode("utf-8", "surrogatepass")
        parts.append(b"%d:%b" % (len(encoded), encoded))
        parts.append(value_bytes(item[name]))
    return b"".join(parts)


def digest(item: Mapping[str, Any]) -> int:
    """128 bits of the item, as a number, so that digests can be summed."""
    return int.from_bytes(blake2b(item_bytes(item), digest_size=DIGEST_SIZE).digest(), "big")


def short_hash(data: bytes) -> int:
    """64 bits that spread keys over buckets."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
