"""What is said about data: tables, the transforms of their items, and how far a run has come."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from fearless.data.items import Item
    from fearless.interfaces.values import Stack


@dataclass(frozen=True)
class TableSpec:
    """A table as `[tables.<name>]` in release.toml declares it. Key types are S, N or B.

    `ttl` is the attribute that says when an item expires. It is switched on when the stack goes
    live: before that, the copy would lose items that the live table still has.
    """

    name: str
    hash_key: str
    range_key: str | None = None
    hash_type: str = "S"
    range_type: str = "S"
    ttl: str | None = None

    @property
    def logical_id(self) -> str:
        """Its name in the template: `order_lines` -> `OrderLines`."""
        return "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", self.name))

    @property
    def env(self) -> str:
        """The variable an instance finds the physical table name in: `TABLE_ORDER_LINES`."""
        return "TABLE_" + re.sub(r"[^A-Za-z0-9]+", "_", self.name).upper()


Up = Callable[["Item"], "Item | Iterable[Item] | None"]


@dataclass(frozen=True)
class Transform:
    """One data migration, applied to every item of `tables` during copy and sync alike.

    `up(item)` returns the item changed, None to drop it, or several items. It must be pure:
    no clock, no random, no network. `kind` is the contract checked on every item:

    `keep-key`: 0 or 1 item with the key values of the source item (names may change).
    `owned`: 0 to N items; `owner(key)` gets the key attributes of an output, and returns
    those of the source item it came from.
    `transferable`: 0 to N items whose keys may pass from one source item to another.
    Fearless adds `owner_attribute` to every output: a map of the source item's key.
    `collection`: many to one, without `up`: `group(item)` names the group of an item
    ("" drops it), `merge(items)` turns all items of a group into 0 to N items. Members of
    a group share their hash key, and so do the items made of them.

    `down` leads back, for a rollback after the new release wrote data. keep-key:
    `down(item, old)`; owned: `down(items, old)` with all items of one source item, in the
    order of their keys. `old` is the item as the old release has it, or None; the answer is
    the item to have there, or None for none. An owned transform with `down` keeps the hash
    key, and `prefix(key)` may say what the range keys of all outputs of a source key begin
    with, so that fewer items are read. `irreversible` says why there is no way back.
    """

    name: str
    tables: tuple[str, ...]
    up: Up | None = None
    kind: Literal["keep-key", "owned", "transferable", "collection"] = "keep-key"
    owner: Callable[[Item], Item] | None = None
    down: Callable[[Any, Item | None], Item | None] | None = None
    irreversible: str = ""
    prefix: Callable[[Item], str] | None = None
    owner_attribute: str = ""
    group: Callable[[Item], str] | None = None
    merge: Callable[[list[Item]], Item | Iterable[Item] | None] | None = None

    @property
    def function(self) -> Callable[..., Any]:
        """What makes the new items: `up`, or `merge` of a collection. Raises ValueError."""
        function = self.up or self.merge
        if function is None:
            raise ValueError(f"transform {self.name!r} has no function")
        return function

    @property
    def digest(self) -> str:
        """A hash of the name and the whole file that defines `up`: pinned while data moves."""
        function = plain_function(self.function)
        code = getattr(function, "__code__", None)
        if code is None:
            module = getattr(function, "__module__", "")
            content = f"{module}.{getattr(function, '__qualname__', type(function))}".encode()
        else:
            path = Path(code.co_filename)
            content = path.read_bytes() if path.is_file() else code.co_code
        return hashlib.sha256(self.name.encode() + b"\0" + content).hexdigest()[:16]

    @property
    def source_digest(self) -> str:
        """A hash of the source of `up` alone; `digest` where Python cannot tell it."""
        try:
            source = inspect.getsource(plain_function(self.function))
        except (OSError, TypeError):
            return self.digest
        return hashlib.sha256(source.encode()).hexdigest()[:16]


def plain_function(up: Any) -> Any:
    """The function that somebody wrote: inside of `functools.partial`, decorators and objects."""
    while isinstance(up, functools.partial):
        up = up.func
    up = inspect.unwrap(up)
    if hasattr(up, "__code__") or isinstance(up, type):
        return up
    call = inspect.unwrap(type(up).__call__)
    return call if hasattr(call, "__code__") else up


@dataclass(frozen=True)
class DataRun:
    """One migration of one live stack's tables into one candidate's: what to move and how.

    `id` names the run (one per target stack id). `tables` are those both stacks have.
    `transforms` are the ones the source's data has not been through yet, in order.

    `back` is the way back of the same run, with the same id, tables and transforms: `source` is
    the stack that it filled and that is live now, `target` the one it was filled from. It
    carries what was written since the `turn`, through the transforms' `down`.
    """

    id: str
    source: Stack
    target: Stack
    tables: tuple[TableSpec, ...]
    transforms: tuple[Transform, ...]
    back: bool = False


@dataclass(frozen=True)
class DataState:
    """What a data run has done so far. Counts are of source items, except `written`.

    `phase` is `none`, `copying`, `replay` (copied; changes are being applied) or `broken`
    (the stream has a gap: `reason` says what and what to do). `lag` is in seconds, None when
    nothing has been read yet. `quarantined` leaves out what was waived. `suspects` wait for a
    dead worker's last requests, until `suspects_due` at most (Unix time), and `follow` makes
    them sure then; `one_way` says why there is no way back, empty when there is one.

    Of the way back, the phase is `none` before the `turn`, and `replay` after it.
    """

    phase: Literal["none", "copying", "replay", "broken"] = "none"
    read: int = 0
    written: int = 0
    dropped: int = 0
    quarantined: int = 0
    changed: int = 0
    applied: int = 0
    lag: float | None = None
    reason: str = ""
    suspects: int = 0
    one_way: str = ""
    suspects_due: float = 0.0


@dataclass(frozen=True)
class Sample:
    """A dry run of one table's transforms over some of its items; nothing was written.

    `failed` items could not be migrated, and of `not_back` the way back does not give the item
    there was. `lines` is the report for people, before and after; `facts` is it for programs.
    """

    table: str
    read: int
    failed: int = 0
    not_back: int = 0
    lines: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The result of comparing the target with T(source): equal only if all three are empty."""

    compared: int
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """True when the target is exactly T(source), benign classes aside."""
        return not (self.missing or self.extra or self.different)


@dataclass(frozen=True)
class Late:
    """What was written to the stack that was left, after its fence.

    `found` were seen this time; of those `applied` were brought over. `conflicts` are all that
    are not in the live stack, now: for people to put right.
    """

    found: int = 0
    applied: int = 0
    conflicts: int = 0
