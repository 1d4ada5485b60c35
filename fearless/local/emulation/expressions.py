"""DynamoDB expressions are parsed once, not once for each item they are asked about."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


def install() -> None:
    """Remember what parsing and checking a text said: it depends on nothing else."""
    from ministack.services import dynamodb

    parse, check = dynamodb._tokenize, dynamodb._condition_syntax_error
    parsed = lru_cache(maxsize=1024)(lambda text: tuple(parse(text)))

    def tokenize(text: str) -> list[Any]:
        return list(parsed(text))

    dynamodb._tokenize = tokenize
    dynamodb._condition_syntax_error = lru_cache(maxsize=1024)(check)
