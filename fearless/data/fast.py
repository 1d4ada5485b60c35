"""The short way for keep-key transforms: only what a transform changed is looked at.

It accepts an item only when the careful way would accept it as well; everything out of the
ordinary is left to the careful way, which says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from fearless.data.contract import listed
from fearless.data.items import Item
from fearless.data.outcome import Outcome, Page
from fearless.data.tables import TableInfo, Typed
from fearless.data.validate import (
    MAX_HASH,
    MAX_ITEM,
    Invalid,
    check_index_key,
    name_size,
    size,
    value_size,
)
from fearless.interfaces import Transform

NAMES = 1000
"""Names of attributes that are remembered to be valid: the same few come again and again."""


class FastPath:
    """The keep-key transforms of a table, without the checks that a source item has passed."""

    def __init__(
        self, source: TableInfo, target: TableInfo, transforms: Sequence[Transform]
    ) -> None:
        self._ups: list[Callable[[Item], Any]] = [t.up for t in transforms if t.up is not None]
        self._keys = target.keys
        self._alike = source.keys == target.keys and all(
            source.types.get(name) == target.types[name] for name in target.keys
        )
        indexes = {
            name: (name, kind, target.limits.get(name, MAX_HASH))
            for name, kind in target.types.items()
            if name not in target.keys
        }
        self._indexes = indexes
        self._named: set[str] = set()
        foreign = [
            index
            for name, index in indexes.items()
            if source.types.get(name) != index[1]
            or source.limits.get(name, MAX_HASH) > index[2]
            or name in source.keys
        ]
        self._foreign = foreign
        self._idle = not self._ups and self._alike and not foreign

    def page(self, items: list[Typed], slow: Callable[[Typed], Outcome]) -> Page:
        """Migrate a page; `slow` migrates one item."""
        if self._idle:
            return Page(items)
        page = Page([])
        puts = page.puts
        for source in items:
            try:
                typed = self.one(source)
            except Exception:  # noqa: BLE001 - the slow way says what it is
                outcome = slow(source)
                if outcome.failure is not None:
                    page.failures.append((source, outcome.failure))
                    continue
                typed = next(iter(outcome.outputs.values()), None)
            if typed is None:
                page.dropped += 1
            else:
                puts.append(typed)
                if typed != source:
                    page.changed += 1
        return page

    def one(self, source: Typed) -> Typed | None:
        """The output, None to drop the item. Raises something for what is out of the ordinary."""
        if self._idle:
            return source
        if not self._alike:
            raise Invalid("not sure")
        typed = source
        for up in self._ups:
            answer = up(Item(typed.copy()))
            if answer.__class__ is not Item:
                outputs = listed(answer)
                if not outputs:
                    return None
                (answer,) = outputs
            typed = answer.typed
            for name in self._keys:
                if typed[name] is not source[name] and typed[name] != source[name]:
                    raise Invalid("not sure")
        self._check(source, typed)
        return typed

    def _check(self, source: Typed, typed: Typed) -> None:
        for name, kind, limit in self._foreign:
            if name in typed:
                check_index_key(typed[name], name, kind, limit)
        grown = False
        for name, value in typed.items():
            if source.get(name) is not value:
                grown = True
                if name not in self._named:
                    name_size(name)
                    if len(self._named) < NAMES:
                        self._named.add(name)
                value_size(value)
                if name in self._indexes:
                    check_index_key(value, *self._indexes[name])
        if grown and bound(typed) > MAX_ITEM and size(typed) > MAX_ITEM:
            raise Invalid("item over 400 KB")


def bound(typed: Typed) -> int:
    """No less than the item's size by DynamoDB's rule, and much quicker.

    Its JSON spells all that is counted, and at least as long: a type and its braces take more
    than the 3 bytes of a list or map or the 1 of a member, every digit a byte instead of half.
    """
    try:
        return len(orjson.dumps(typed))
    except TypeError:
        return size(typed)
