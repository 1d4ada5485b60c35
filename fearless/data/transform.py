"""Run a table's transforms over its items, and hold each of them to its contract."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fearless.data.back import WayBack
from fearless.data.canonical import item_bytes, value_bytes
from fearless.data.collection import Collection
from fearless.data.contract import Contract, check_chain
from fearless.data.fast import FastPath
from fearless.data.items import Item
from fearless.data.keys import Keys
from fearless.data.outcome import NOTHING, Failed, Failure, Outcome, Page
from fearless.data.redact import redact
from fearless.data.stages import Stages
from fearless.data.tables import TableInfo, Typed
from fearless.data.validate import Invalid, check
from fearless.errors import FearlessError
from fearless.interfaces import Transform

__all__ = [
    "NOTHING",
    "Contract",
    "Failed",
    "Failure",
    "Impure",
    "Outcome",
    "Page",
    "Pipeline",
    "digest_of",
    "redact",
]


class Impure(FearlessError):
    """A transform gave two answers for one item."""


def digest_of(table: str, transforms: Sequence[Transform]) -> str:
    """A hash of the code of every transform of a table, which is pinned for the run."""
    names = [
        f"{t.name}:{t.kind}:{t.owner_attribute}:{t.digest}" for t in transforms if table in t.tables
    ]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


class Pipeline:
    """The transforms of one table, in order: `T` in the design.

    `info` is the target table; `source` the source table, which is taken to look like the
    target when it is not given. `kind` is the strongest kind among the transforms, and
    `plain` is true when none touches the table. Raises FearlessError for transforms that
    contradict themselves or one another.
    """

    def __init__(
        self,
        table: str,
        info: TableInfo,
        transforms: Sequence[Transform],
        source: TableInfo | None = None,
    ) -> None:
        self._table = table
        self.source = source or info
        self._info = info
        self.transforms = tuple(t for t in transforms if table in t.tables)
        self.kind = check_chain(table, info, self.transforms)
        self.plain = not self.transforms
        self._keys = Keys(self.source, info)
        self._fast = FastPath(self.source, info, self.transforms)
        self._numbers = range(len(self.transforms))
        self.stages = Stages(self.transforms, self._keys)
        self.way_back = WayBack(self.source, self._keys, self.transforms, self.stages)

    def __call__(self, source: Typed | None) -> Outcome:
        """Migrate one typed source item; None (no item) gives no outputs. Never raises for it."""
        if source is None:
            return NOTHING
        if self.kind != "keep-key":
            return self._carefully(source)
        try:
            typed = self._fast.one(source)
        except Exception:  # noqa: BLE001 - the careful way says what it is
            return self._carefully(source)
        return NOTHING if typed is None else Outcome({self._info.key_id(typed): typed})

    def page(self, items: list[Typed]) -> Page:
        """Migrate source items by keep-key transforms: as calling for each of them, but faster.

        The answer's `puts` may be `items` itself, and share values with it.
        """
        if self.kind != "keep-key":
            raise ValueError(f"table {self._table}: pages are for keep-key transforms only")
        return self._fast.page(items, self._carefully)

    def group(self, source: Typed) -> str:
        """The group of a source item, "" when it is dropped. Raises Failed.

        A group is all source items with this name *and* one hash key.
        """
        return self._collection.group(source)[0]

    def merged(self, sources: Sequence[Typed]) -> Outcome:
        """Migrate all source items of one group. Never raises for them.

        Every output has the hash key of the members, so that the target items of a source
        partition are a target partition.
        """
        try:
            return self._outcome(self._collection.merged(sources), {})
        except Failed as error:
            return Outcome({}, error.failure)

    def check_pure(self, source: Typed | Sequence[Typed], first: Outcome | None = None) -> None:
        """Run T again and raise Impure if the answer is another one than `first`.

        `source` is an item, or all items of a group.
        """
        if first is None:
            first = self._carefully(source)
        second = self._carefully(source)
        alike = first.failure == second.failure and first.outputs.keys() == second.outputs.keys()
        if alike and all(
            item_bytes(item) == item_bytes(second.outputs[key])
            for key, item in first.outputs.items()
        ):
            return
        names = ", ".join(t.name for t in self.transforms)
        raise Impure(
            f"table {self._table}: the transforms ({names}) gave two answers for one item: they "
            "must not use the clock, random numbers, the network or anything they keep"
        )

    def owner(self, target: Typed) -> Typed | None:
        """The key of the source item that a target item belongs to, None if none can.

        keep-key and owned transforms tell it from the key alone; a transferable one needs the
        whole item; what a collection makes belongs to no single source item.
        """
        try:
            key = self._keys.of(target)
            for transform in reversed(self.transforms):
                if transform.kind == "owned":
                    key = self._keys.owner(transform, key)
                elif transform.kind == "transferable":
                    return self._keys.in_source(
                        self._keys.of_source(target[transform.owner_attribute]["M"])
                    )
                elif transform.kind == "collection":
                    return None
        except Exception:  # noqa: BLE001 - a key no output ever has
            return None
        return self._keys.in_source(key)

    @property
    def one_way(self) -> str:
        """Why a rollback cannot carry changes back; "" when it can."""
        return self.way_back.one_way

    def back(self, members: Sequence[Typed], old: Typed | None) -> Outcome:
        """What the old table should hold for one old key: 0 or 1 item. Never raises for them.

        `members` are all target items whose `owner` is the key, `old` is the old table's item.
        """
        return self.way_back(members, old)

    def prefix(self, key: Typed) -> str | None:
        """What the range keys of all target items of an old key begin with, None if unknown."""
        return self.way_back.prefix(key)

    def round_trip(self, source: Typed, outcome: Outcome) -> bool:
        """True when the way back from T(source) gives the source item exactly."""
        return self.way_back.round_trip(source, outcome)

    def _carefully(self, source: Typed | Sequence[Typed]) -> Outcome:
        """T with every check there is."""
        if not isinstance(source, dict):
            return self.merged(source)
        if self.kind == "collection":
            raise ValueError(f"table {self._table}: its items are merged by group, not one by one")
        try:
            items = self.stages.through(self._numbers, [Item(dict(source))], [source])
        except Failed as error:
            return Outcome({}, error.failure)
        return self._outcome(items, source)

    @property
    def _collection(self) -> Collection:
        for number, transform in enumerate(self.transforms):
            if transform.kind == "collection":
                return Collection(number, self.transforms, self._keys, self.stages)
        raise ValueError(f"table {self._table}: no transform of kind 'collection'")

    def _outcome(self, items: list[Item], source: Typed) -> Outcome:
        last = self.transforms[-1].name if self.transforms else "copy"
        outputs: dict[bytes, Typed] = {}
        try:
            for item in items:
                if self.kind == "transferable":
                    self._mark(item.typed, source)
                check(item.typed, self._info)
                identity = self._info.key_id(item.typed)
                if identity in outputs:
                    raise Contract("two outputs with one key")
                outputs[identity] = item.typed
        except Contract as error:
            return Outcome({}, Failure(last, "Contract", str(error)))
        except Invalid as error:
            return Outcome({}, Failure(last, f"invalid:{error}", "DynamoDB refuses it"))
        return Outcome(outputs)

    def _mark(self, output: Typed, source: Typed) -> None:
        """Set the owner attribute. An output that has another owner already would be stolen."""
        name = next(t.owner_attribute for t in self.transforms if t.kind == "transferable")
        owner = {"M": self._keys.in_source(self._keys.of_source(source))}
        if name in output and value_bytes(output[name]) != value_bytes(owner):
            raise Contract(f"an output sets {name!r} itself: remove it, Fearless sets it")
        output[name] = owner
