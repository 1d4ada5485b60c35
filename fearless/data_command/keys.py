"""A key on the command line: JSON of plain values, or of DynamoDB's typed ones."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fearless.data.tables import TableInfo, Typed
from fearless.errors import ConfigError


def parse(text: str, table: TableInfo) -> Typed:
    """`{"store": "s1", "number": 7}` as the table's key. Raises ConfigError."""
    shape = ", ".join(f"{name} ({table.types[name]})" for name in table.keys)
    try:
        given: Any = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    except ValueError as error:
        raise ConfigError(f"--key {text}: not JSON ({error}); it must hold {shape}") from error
    if not isinstance(given, dict) or given.keys() != set(table.keys):
        raise ConfigError(f"--key {text}: the key of {table.table} is {shape}, no more, no less")
    try:
        return {name: _typed(given[name], table.types[name]) for name in table.keys}
    except ValueError as error:
        raise ConfigError(f"--key {text}: {error}; the key of {table.table} is {shape}") from None


def written(key: Mapping[str, Any]) -> str:
    """A typed key as `parse` takes it."""
    return "{" + ", ".join(f"{json.dumps(n)}: {_plain(v)}" for n, v in key.items()) + "}"


def _typed(value: Any, kind: str) -> dict[str, str]:
    if isinstance(value, dict) and list(value) == [kind] and isinstance(value[kind], str):
        value = Decimal(value["N"]) if kind == "N" and _number(value["N"]) else value[kind]
    elif kind == "B":
        raise ValueError('write binary as {"B": "<base64>"}')
    if kind == "N":
        if not isinstance(value, Decimal):
            raise ValueError(f"{value!r} is not a number")
        return {"N": str(value)}
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - of what was typed
            f"{value} is not a string: write it in double quotes"
        )
    if kind == "B":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            raise ValueError(f"{value!r} is not base64") from None
    return {kind: value}


def _number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except ArithmeticError:
        return False


def _plain(value: Mapping[str, Any]) -> str:
    ((kind, raw),) = value.items()
    if kind == "N":
        return str(raw)
    if kind == "B":
        text = raw if isinstance(raw, str) else base64.b64encode(bytes(raw)).decode()
        return json.dumps({"B": text})
    return json.dumps(raw, ensure_ascii=False)
