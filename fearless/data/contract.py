"""What each kind of transform promises, and which may follow one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from fearless.data.items import Item
from fearless.data.tables import TableInfo
from fearless.errors import FearlessError
from fearless.interfaces import Transform

TransformKind = Literal["keep-key", "owned", "transferable", "collection"]
KINDS: tuple[TransformKind, ...] = ("keep-key", "owned", "transferable", "collection")
NEEDS = {
    "keep-key": ("up",),
    "owned": ("up", "owner"),
    "transferable": ("up", "owner_attribute"),
    "collection": ("group", "merge"),
}
MAY = {
    "keep-key": ("down", "irreversible"),
    "owned": ("down", "irreversible", "prefix"),
    "transferable": ("irreversible",),
    "collection": ("irreversible",),
}
PARTS = ("up", "owner", "owner_attribute", "group", "merge", "down", "irreversible", "prefix")
PHRASES = {
    "owner": "owner function",
    "owner_attribute": "owner_attribute",
    "group": "group function",
    "merge": "merge function",
    "up": "up function",
}


class Contract(ValueError):
    """An output breaks what the transform's kind promises."""


def check_chain(table: str, info: TableInfo, transforms: Sequence[Transform]) -> TransformKind:
    """The strongest kind among the transforms of a table. Raises FearlessError.

    keep-key and owned ones go together in any order. A transferable or collection transform
    goes with keep-key ones only: what it makes cannot be traced through another owner.
    """
    for transform in transforms:
        _check_parts(table, info, transform)
    strong = [t for t in transforms if t.kind in ("transferable", "collection")]
    others = [t for t in transforms if t.kind != "keep-key"]
    if strong and len(others) > 1:
        names = ", ".join(f"{t.name!r} ({t.kind})" for t in others)
        raise FearlessError(
            f"table {table}: the transforms {names} cannot run in one release: only keep-key "
            f"ones go with a {strong[0].kind} one; deploy them in releases of their own"
        )
    return max((t.kind for t in transforms), key=KINDS.index, default="keep-key")


def _check_parts(table: str, info: TableInfo, transform: Transform) -> None:
    where = f"table {table}: transform {transform.name!r}"
    kind = transform.kind
    if kind not in KINDS:
        raise FearlessError(f"{where}: kind is {kind!r}, and must be one of {', '.join(KINDS)}")
    for part in NEEDS[kind]:
        if not getattr(transform, part):
            raise FearlessError(f"{where} is of kind {kind!r} but has no {PHRASES[part]}: add it")
    for part in PARTS:
        if getattr(transform, part) and part not in NEEDS[kind] + MAY[kind]:
            raise FearlessError(
                f"{where} is of kind {kind!r}, which knows no {part!r}: remove it, or change the "
                "kind"
            )
    if transform.down and transform.irreversible:
        raise FearlessError(f"{where} has both 'down' and 'irreversible': keep one of them")
    if transform.prefix and not transform.down:
        raise FearlessError(f"{where} has a 'prefix' but no 'down', which alone uses it: remove it")
    if transform.prefix and info.types.get("".join(info.keys[1:])) != "S":
        raise FearlessError(
            f"{where} has a 'prefix', but the table has no range key of type S: remove it"
        )
    if transform.owner_attribute in info.types:
        raise FearlessError(
            f"{where}: owner_attribute {transform.owner_attribute!r} is a key of the table or of "
            "an index, and will hold a map: choose another name"
        )


def listed(answer: Any, function: str = "up") -> list[Item]:
    """The items that a plugin's function returned. Raises Contract for anything else."""
    if answer is None:
        return []
    if isinstance(answer, Item):
        return [answer]
    if isinstance(answer, Mapping):
        return [Item.of(answer)]
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes):
        raise Contract(f"{function}() returned a {type(answer).__name__}, not items or None")
    found = []
    for member in answer:
        if not isinstance(member, Mapping):
            raise Contract(f"{function}() returned a list holding a {type(member).__name__}")
        found += listed(member, function)
    return found
