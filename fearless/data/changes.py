"""What was applied since everything was compared and found equal: all a fence must look at.

A comparison of everything takes as long as the tables are large; writes cannot be paused for
that. So it is made while they go on, and from its beginning on every key that a change touches
is noted. With writes stopped, only those can differ from what was proven.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fearless.data.calls import Caller
from fearless.data.canonical import item_bytes
from fearless.data.tables import TableInfo, Typed
from fearless.owner import boottime

if TYPE_CHECKING:
    from fearless.data.context import Table

Kind = Literal["missing", "extra", "different", "quarantined", "moving"]
"""In what way a target item is not as T(source) has it."""

MAX_AGE = 3600.0
"""Seconds for which a comparison counts (the design's guard for a cutover)."""

BATCH = 100
"""Keys in one BatchGetItem: DynamoDB's limit."""


class Changes:
    """Target keys touched since the last clean comparison began, each with its source key.

    Lives in one process, and is worth something only while no other has held the run since.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._epoch = -1
        self._began: float | None = None
        self._clean = False
        self._keys: dict[str, dict[bytes, tuple[Typed, Typed]]] = {}

    def enter(self, epoch: int) -> None:
        """The run was taken for the `epoch`-th time; forget all if it was not by us before."""
        if epoch != self._epoch + 1:
            self.forget()
        self._epoch = epoch

    def begin(self) -> None:
        """A comparison of everything begins: note every key from now on."""
        with self._lock:
            self._began, self._clean, self._keys = self._clock(), False, {}

    def clean(self) -> None:
        """The comparison that began found everything equal."""
        self._clean = self._began is not None

    def forget(self) -> None:
        """Nothing is proven any more."""
        with self._lock:
            self._began, self._clean, self._keys = None, False, {}

    def add(self, table: str, source: Typed, targets: Iterable[tuple[bytes, Typed]]) -> None:
        """A change of `source` wrote or deleted these target keys. For any thread."""
        with self._lock:
            if self._began is not None:
                noted = self._keys.setdefault(table, {})
                noted.update((key_id, (key, source)) for key_id, key in targets)

    @property
    def known(self) -> bool:
        """Whether only the noted keys can differ from what was proven equal."""
        began = self._began
        return self._clean and began is not None and self._clock() - began < MAX_AGE

    def of(self, table: str) -> list[tuple[Typed, Typed]]:
        """`(target key, source key)` of everything noted for a table."""
        with self._lock:
            return list(self._keys.get(table, {}).values())


def differing(
    table: Table, noted: Sequence[tuple[Typed, Typed]]
) -> Iterator[tuple[Kind, Typed, Typed]]:
    """`(kind, target key, source key)` of each noted key that is not as T(source) has it.

    Both sides must stand still.
    """
    sources = {table.source.key_id(source): source for _, source in noted}
    targets = {table.target.key_id(key): (key, table.source.key_id(s)) for key, s in noted}
    items = fetch(table.reader, table.source_client, table.source, sources.values())
    wanted = {key_id: table.migrate(items.get(key_id)) for key_id in sources}
    for source_id, outcome in wanted.items():
        for key_id, output in outcome.outputs.items():
            targets.setdefault(key_id, (table.target.key(output), source_id))
    keys = (key for key, _ in targets.values())
    there = fetch(table.reader, table.target_client, table.target, keys)
    for key_id, (key, source_id) in targets.items():
        outcome = wanted[source_id]
        want, have = outcome.outputs.get(key_id), there.get(key_id)
        if outcome.failure:
            yield "quarantined", key, sources[source_id]
        elif want is None and have is not None:
            yield "extra", key, sources[source_id]
        elif want is not None and have is None:
            yield "missing", key, sources[source_id]
        elif want is not None and have is not None and not equal(want, have):
            yield "different", key, sources[source_id]


def fetch(
    reader: Caller, client: Any, info: TableInfo, keys: Iterable[Typed]
) -> dict[bytes, Typed]:
    """The items of those keys that are there, by consistent reads of 100 at a time."""
    found: dict[bytes, Typed] = {}
    wanted = list(keys)
    for start in range(0, len(wanted), BATCH):
        left: Any = {info.table: {"Keys": wanted[start : start + BATCH], "ConsistentRead": True}}
        attempt = 0
        while left:
            answer = reader.read(client.batch_get_item, RequestItems=left)
            for item in answer["Responses"].get(info.table, ()):
                found[info.key_id(item)] = item
            left = answer.get("UnprocessedKeys")
            if left:
                reader.pause(attempt)
                attempt += 1
    return found


def equal(one: Typed, other: Typed) -> bool:
    """Whether two typed items are the same in DynamoDB's eyes."""
    return item_bytes(one) == item_bytes(other)
