"""The items of a page a few hundred at a time: parsed, used and forgotten within the CPU's cache.

A page of 1 MB is some 20,000 Python objects. All at once they take twice the CPU of the same in
pieces, and making and forgetting them is a good part of what a copy costs (`benchmarks/copy.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import orjson

from fearless.data.tables import Typed

PIECE = 128 * 1024
"""Bytes of JSON in a piece, at least: some 270 items of 330 bytes."""

TRIES = 64
"""How many places where a piece may end are looked at: items full of maps in lists have many."""

_ITEMS = re.compile(rb'"Items"\s*:\s*\[\s*(?=\{)')
_BETWEEN = re.compile(rb'\}\s*,\s*(?=\{\s*")')


class Page(Protocol):
    """The answer to a Scan: iterating gives its items, list by list, once.

    `rest` is the answer but for the items, complete when all of them were read.
    """

    rest: Mapping[str, Any]

    def __iter__(self) -> Iterator[list[Typed]]: ...


class Whole:
    """An answer that was parsed already, as one piece."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.rest = answer

    def __iter__(self) -> Iterator[list[Typed]]:
        yield self.rest["Items"]


class Pieces:
    """An answer as it was received; `rest` begins as what else is known of it.

    A piece ends where one item could end and another begin, and where the text up to there is
    whole items and nothing else: the end of a map in a list or in a string leaves something open.
    Iterating raises what `garbled` makes of the reason when the text is not the answer to a Scan.
    """

    def __init__(
        self,
        body: bytes,
        rest: Mapping[str, Any],
        garbled: Callable[[str], Exception],
        least: int = PIECE,
    ) -> None:
        self.rest = rest
        self._body = body
        self._garbled = garbled
        self._least = least

    def __iter__(self) -> Iterator[list[Typed]]:
        body, count = self._body, 0
        first = _ITEMS.search(body)
        begin = start = first.end() if first else 0
        while first and (found := self._piece(start)):
            items, start = found
            count += len(items)
            yield items
        try:
            document = orjson.loads(body[:begin] + body[start:])
            items = document.pop("Items")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._garbled(f"it is not what a Scan answers ({error})") from error
        count += len(items)
        if document.get("Count", count) != count:
            raise self._garbled(f"it has {count} items and says {document['Count']}")
        self.rest = {**document, **self.rest}
        yield items

    def _piece(self, start: int) -> tuple[list[Typed], int] | None:
        """The items from `start` on, and where the next one begins; None: no more to divide."""
        body = self._body
        for tried, between in enumerate(_BETWEEN.finditer(body, start + self._least)):
            if tried == TRIES:
                break
            end = between.start() + 1
            if body.count(b"[", start, end) == body.count(b"]", start, end):
                try:
                    return orjson.loads(b"[%b]" % body[start:end]), between.end()
                except orjson.JSONDecodeError:
                    continue
        return None
