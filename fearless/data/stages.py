"""The transforms of one table one after the other, each held to its contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fearless.data.contract import Contract, listed
from fearless.data.items import Item
from fearless.data.keys import Key, Keys, same
from fearless.data.outcome import Failed
from fearless.data.redact import explain
from fearless.data.tables import Typed
from fearless.interfaces import Transform


class Stages:
    """The `up` functions; the n-th transform is the n-th stage."""

    def __init__(self, transforms: Sequence[Transform], keys: Keys) -> None:
        self._transforms = transforms
        self._keys = keys

    def through(
        self, numbers: Iterable[int], items: list[Item], sources: Sequence[Typed]
    ) -> list[Item]:
        """What these stages make of the items, which come from the sources. Raises Failed."""
        for number in numbers:
            try:
                items = [output for item in items for output in self.one(number, item)]
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises is quarantined
                transform = self._transforms[number]
                failure = explain(error, transform.name, transform.function, sources)
                raise Failed(failure) from None
        return items

    def one(self, number: int, item: Item) -> list[Item]:
        """What one stage makes of an item. Raises Contract, and whatever the plugin does."""
        transform = self._transforms[number]
        keys = self._keys
        key = keys.of_source(item.typed) if number == 0 else keys.of(item.typed)
        if transform.up is None:
            raise Contract("there is no up function")
        outputs = listed(transform.up(item.copy()))
        if transform.kind == "keep-key":
            if len(outputs) > 1:
                raise Contract("a keep-key transform returned several items (use kind='owned')")
            if outputs and not same(keys.of(outputs[0].typed), key):
                raise Contract("a keep-key transform changed the key (use kind='owned')")
        elif transform.kind == "owned":
            for output in outputs:
                self._check_owned(transform, keys.of(output.typed), key)
        return outputs

    def _check_owned(self, transform: Transform, output: Key, key: Key) -> None:
        if not same(self._keys.owner(transform, output), key):
            raise Contract("owner(output) is not the key of the source item")
        if transform.down is None:
            return
        if not same(output[:1], key[:1]):
            raise Contract("an output of a transform with a way back has another hash key")
        if transform.prefix is not None:
            prefix = transform.prefix(Item(self._keys.in_source(key)))
            if not output[1]["S"].startswith(prefix):
                raise Contract("the range key of an output does not begin with prefix(key)")
