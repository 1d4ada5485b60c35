"""Say why a transform failed without the item's values: people's data stays out of logs."""

from __future__ import annotations

import re
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from fearless.data.contract import Contract
from fearless.data.items import decode
from fearless.data.outcome import Failure
from fearless.data.tables import Typed
from fearless.interfaces import plain_function


def explain(
    error: Exception, name: str, function: Callable[..., Any], items: Iterable[Typed]
) -> Failure:
    """The failure of a plugin's function on these items, with its line in the plugin."""
    lines = str(error).splitlines()
    message = lines[0] if lines else ""
    if not isinstance(error, Contract):
        for item in items:
            message = redact(message, item, isinstance(error, KeyError))
    code = getattr(plain_function(function), "__code__", None)
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if code is not None and frame.filename == code.co_filename:
            where = f"{Path(frame.filename).name}:{frame.lineno}"
    return Failure(name, type(error).__name__, message, where)


def redact(message: str, item: Typed, names_only: bool = False) -> str:
    """An error message without the item's values: people's data stays out of logs and rows."""
    texts = {text for text in _scalars(item) if len(text) <= len(message)}
    patterns = [
        re.escape(text) if len(text) > 3 else rf"(?<!\w){re.escape(text)}(?!\w)"
        for text in sorted(texts, key=len, reverse=True)
    ]
    if patterns:
        message = re.sub("|".join(patterns), "…", message, flags=re.IGNORECASE)
    if not names_only:
        message = re.sub(
            r"'[^']*'|\"[^\"]*\"",
            lambda found: found[0] if found[0][1:-1] in item else "'…'",
            message,
        )
    return message[:300]


def _scalars(item: Typed) -> Iterator[str]:
    for value in item.values():
        yield from _texts(decode(value))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            if value:
                yield value
        case bool() | None:
            return
        case Decimal():
            yield str(value)
        case bytes():
            if value:
                yield repr(value)[2:-1]
                yield b64encode(value).decode()
        case dict():
            for member in value.values():
                yield from _texts(member)
        case list() | set():
            for member in value:
                yield from _texts(member)
