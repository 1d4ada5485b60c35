"""Many items to one: the groups of a collection transform, and what they are merged into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fearless.data.contract import Contract, listed
from fearless.data.items import Item
from fearless.data.keys import Key, Keys, in_order, same
from fearless.data.outcome import Failed
from fearless.data.redact import explain
from fearless.data.stages import Stages
from fearless.data.tables import Typed
from fearless.interfaces import Transform


class Collection:
    """The n-th transform of a table, of kind `collection`, between the stages around it."""

    def __init__(self, number: int, transforms: Sequence[Transform], keys: Keys, stages: Stages):
        self._before = range(number)
        self._after = range(number + 1, len(transforms))
        self._transform = transforms[number]
        self._keys = keys
        self._stages = stages

    def group(self, source: Typed) -> tuple[str, Item | None]:
        """The group of a source item and what is to be merged of it. Raises Failed.

        "" and None when the item is dropped.
        """
        items = self._stages.through(self._before, [Item(dict(source))], [source])
        if not items:
            return "", None
        function = self._transform.group
        try:
            name: Any = function(items[0].copy()) if function is not None else ""
            if name is not None and not isinstance(name, str):
                raise Contract(f"group() returned a {type(name).__name__}, not a string")
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises is quarantined
            function = function or self._transform.function
            failure = explain(error, self._transform.name, function, [source])
            raise Failed(failure) from None
        return (name, items[0]) if name else ("", None)

    def merged(self, sources: Sequence[Typed]) -> list[Item]:
        """What becomes of the source items of one group. Raises Failed."""
        grouped = [(self.group(source), source) for source in sources]
        members = [(name, item, source) for (name, item), source in grouped if item is not None]
        if not members:
            return []
        transform = self._transform
        try:
            names = {name for name, _, _ in members}
            hashes = [self._keys.of_source(source)[:1] for _, _, source in members]
            if len(names) > 1 or not all(same(hashes[0], each) for each in hashes):
                raise Contract("the items are not of one group")
            outputs = self._merge([item for _, item, _ in members], hashes[0])
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises is quarantined
            failure = explain(error, transform.name, transform.function, sources)
            raise Failed(failure) from None
        return self._stages.through(self._after, outputs, sources)

    def _merge(self, members: list[Item], hash_key: Key) -> list[Item]:
        if self._transform.merge is None:
            raise Contract("there is no merge function")
        found = [item.copy() for item in in_order(members, self._keys.of)]
        outputs = listed(self._transform.merge(found), "merge")
        for output in outputs:
            if not same(self._keys.of(output.typed)[:1], hash_key):
                raise Contract("merge() returned an item with another hash key")
        return outputs
