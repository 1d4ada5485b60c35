"""What clients send, checked: JSON bodies, ids and limits become values or Invalid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from shop.errors import Invalid
from shop.model import CENT, STATUSES

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
MAX_LINES = 20
MAX_QUANTITY = 999
MAX_PRICE = Decimal("1000000")


def body(value: Any, what: str = "the body") -> dict[str, Any]:
    """A JSON object: the request's own, or the one it holds as `what`."""
    if not isinstance(value, dict):
        raise Invalid(f"{what} must be a JSON object")
    return value


def identifier(value: Any, what: str) -> str:
    """An id: lower-case letters, digits and dashes."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise Invalid(f"{what} must be 1 to 64 lower-case letters, digits and dashes")
    return value


def text(form: Mapping[str, Any], name: str, default: str | None = None, longest: int = 500) -> str:
    """A text field; required unless there is a default."""
    value = form.get(name, default)
    if not isinstance(value, str) or len(value) > longest or (default is None and not value):
        raise Invalid(f"{name} must be a text of at most {longest} characters")
    return value


def email(form: Mapping[str, Any], name: str = "email") -> str:
    """An e-mail address, checked as far as that makes sense."""
    value = text(form, name, longest=254)
    local, _, domain = value.rpartition("@")
    if not local or not domain or any(c.isspace() for c in value):
        raise Invalid(f"{name} must be an e-mail address")
    return value


def price(form: Mapping[str, Any], name: str = "price") -> Decimal:
    """An amount of money as a text such as "12.50"."""
    value = form.get(name)
    try:
        amount = Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount < MAX_PRICE and amount == amount.quantize(CENT)):
        raise Invalid(f'{name} must be a text such as "12.50", from 0 to {MAX_PRICE}')
    return amount


def status(form: Mapping[str, Any]) -> str:
    """One of the states an order goes through."""
    value = form.get("status")
    if value not in STATUSES:
        raise Invalid(f"status must be one of {', '.join(STATUSES)}")
    return str(value)


def address(form: Mapping[str, Any]) -> dict[str, str] | None:
    """A postal address as a map of texts, if there is one."""
    value = form.get("address")
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise Invalid("address must be an object of texts")
    return value


def lines(form: Mapping[str, Any]) -> dict[str, int]:
    """How many of which product: product id -> quantity, in the order given."""
    value = form.get("lines")
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LINES:
        raise Invalid(f"lines must be a list of 1 to {MAX_LINES}")
    wanted: dict[str, int] = {}
    for line in value:
        line = body(line, "a line")
        product_id = identifier(line.get("product_id"), "product_id")
        quantity = line.get("quantity")
        if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
            raise Invalid(f"quantity must be a whole number from 1 to {MAX_QUANTITY}")
        if product_id in wanted:
            raise Invalid(f"product {product_id!r} is in two lines")
        wanted[product_id] = quantity
    return wanted


def limit(value: str | None, default: int, most: int) -> int:
    """How many things to list."""
    if value is None:
        return default
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= most:
        raise Invalid(f"limit must be a number from 1 to {most}")
    return int(value)
