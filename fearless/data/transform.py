"""Run a table's transforms over one item, and hold each of them to its contract."""

from __future__ import annotations

import hashlib
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from fearless.data.canonical import item_bytes
from fearless.data.items import Item, decode
from fearless.data.tables import TableInfo, Typed
from fearless.data.validate import Invalid, check
from fearless.errors import FearlessError
from fearless.interfaces import Transform


class Impure(FearlessError):
    """A transform gave two answers for one item."""


class Contract(ValueError):
    """An output breaks what the transform's kind promises."""


@dataclass(frozen=True)
class Failure:
    """Why an item could not be migrated. Holds no values of the item."""

    transform: str
    error: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.transform}: {self.error}: {self.message}{place}"


@dataclass(frozen=True)
class Outcome:
    """T(item): typed outputs by key identity, or the failure."""

    outputs: Mapping[bytes, Typed]
    failure: Failure | None = None


NOTHING = Outcome({})


def digest_of(table: str, transforms: Sequence[Transform]) -> str:
    """A hash of the code of every transform of a table, which is pinned for the run."""
    names = [f"{t.name}:{t.kind}:{t.digest}" for t in transforms if table in t.tables]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


class Pipeline:
    """The transforms of one table, in order: `T` in the design."""

    def __init__(self, table: str, info: TableInfo, transforms: Sequence[Transform]) -> None:
        self._table = table
        self._info = info
        self.transforms = tuple(t for t in transforms if table in t.tables)
        for transform in self.transforms:
            if transform.kind == "owned" and transform.owner is None:
                raise FearlessError(
                    f"transform {transform.name!r} is of kind 'owned' but has no owner function"
                )

    def __call__(self, source: Typed | None) -> Outcome:
        """Migrate one typed source item; None (no item) gives no outputs. Never raises for it."""
        if source is None:
            return NOTHING
        items = [Item(dict(source))]
        for transform in self.transforms:
            try:
                items = [out for item in items for out in self._step(transform, item)]
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises is quarantined
                return Outcome({}, _explain(error, transform, source))
        outputs: dict[bytes, Typed] = {}
        for item in items:
            try:
                check(item.typed, self._info)
            except Invalid as error:
                return Outcome({}, Failure(self._last, f"invalid:{error}", "DynamoDB refuses it"))
            identity = self._info.key_id(item.typed)
            if identity in outputs:
                return Outcome({}, Failure(self._last, "Contract", "two outputs with one key"))
            outputs[identity] = item.typed
        return Outcome(outputs)

    def check_pure(self, source: Typed, first: Outcome) -> None:
        """Run T again and raise Impure if the answer is another one."""
        second = self(source)
        same = first.failure == second.failure and first.outputs.keys() == second.outputs.keys()
        if same and all(
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
        """The key of the source item that the target item with this key belongs to."""
        key = self._info.key(target)
        for transform in reversed(self.transforms):
            if transform.owner is not None and transform.kind == "owned":
                try:
                    key = self._info.key(transform.owner(Item(dict(key))).typed)
                except Exception:  # noqa: BLE001 - a key no output ever has
                    return None
        return key

    @property
    def _last(self) -> str:
        return self.transforms[-1].name if self.transforms else "copy"

    def _step(self, transform: Transform, item: Item) -> Iterator[Item]:
        key = self._info.key_id(item.typed)
        outputs = _listed(transform.up(item.copy()))
        if transform.kind == "keep-key":
            if len(outputs) > 1:
                raise Contract("a keep-key transform returned several items (use kind='owned')")
            if outputs and self._key_id(outputs[0]) != key:
                raise Contract("a keep-key transform changed the key (use kind='owned')")
        elif transform.owner is not None:
            for output in outputs:
                self._key_id(output)
                owner = transform.owner(Item(dict(self._info.key(output.typed))))
                if self._key_id(owner) != key:
                    raise Contract("owner(output) is not the key of the source item")
        yield from outputs

    def _key_id(self, item: Item) -> bytes:
        missing = [name for name in self._info.keys if name not in item]
        if missing:
            raise Contract(f"key attribute {missing[0]!r} missing")
        return self._info.key_id(item.typed)


def _listed(answer: Any) -> list[Item]:
    if answer is None:
        return []
    if isinstance(answer, Item):
        return [answer]
    if isinstance(answer, Mapping):
        return [Item.of(answer)]
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes):
        raise Contract(f"up() returned a {type(answer).__name__}, not items or None")
    return [item for member in answer for item in _one(member)]


def _one(member: Any) -> list[Item]:
    if member is None or not isinstance(member, Mapping):
        raise Contract(f"up() returned a list holding a {type(member).__name__}")
    return _listed(member)


def _explain(error: Exception, transform: Transform, source: Typed) -> Failure:
    lines = str(error).splitlines()
    message = lines[0] if lines else ""
    if not isinstance(error, Contract):
        message = redact(message, source, isinstance(error, KeyError))
    plugin = transform.up.__code__.co_filename
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == plugin:
            where = f"{Path(frame.filename).name}:{frame.lineno}"
    return Failure(transform.name, type(error).__name__, message, where)


def redact(message: str, item: Typed, names_only: bool = False) -> str:
    """An error message without the item's values: people's data stays out of logs and rows."""
    for text in sorted(set(_scalars(item)), key=len, reverse=True):
        pattern = re.escape(text) if len(text) > 3 else rf"(?<!\w){re.escape(text)}(?!\w)"
        message = re.sub(pattern, "…", message, flags=re.IGNORECASE)
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
        case dict():
            for member in value.values():
                yield from _texts(member)
        case list() | set():
            for member in value:
                yield from _texts(member)
