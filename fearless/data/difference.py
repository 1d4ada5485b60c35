"""What differs between an item before and after, attribute by attribute, for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fearless.data.canonical import binary, value_bytes
from fearless.data.items import decode
from fearless.data.tables import Typed

What = Literal["added", "removed", "changed", "renamed"]
Found = tuple[str, Any, Any]
WIDTH = 60


@dataclass(frozen=True)
class Change:
    """One attribute; `a.b` is `b` in the map `a`. `to` is the new name of a renamed one.

    `before` and `after` tell a value's type and size, or the value itself if that was asked for.
    """

    what: What
    name: str
    before: str = ""
    after: str = ""
    to: str = ""

    def __str__(self) -> str:
        match self.what:
            case "added":
                return f"+ {self.name}: {self.after}"
            case "removed":
                return f"- {self.name}: {self.before}"
            case "renamed":
                return f"> {self.name} is now {self.to}: {self.after}"
            case _:
                return f"~ {self.name}: {self.before} -> {self.after}"


def differences(before: Typed, after: Typed, values: bool = False) -> tuple[Change, ...]:
    """The changes, sorted by name. `values` shows values, which may be people's data."""
    found = list(_walk(before, after, ""))
    renames = dict(_renames(found))
    changes = []
    for name, old, new in found:
        if name in renames:
            after_text = describe(old, values)
            changes.append(Change("renamed", name, after_text, after_text, renames[name]))
        elif new is None:
            changes.append(Change("removed", name, before=describe(old, values)))
        elif old is not None:
            changes.append(Change("changed", name, describe(old, values), describe(new, values)))
        elif name not in renames.values():
            changes.append(Change("added", name, after=describe(new, values)))
    return tuple(changes)


def describe(value: Mapping[str, Any], values: bool = False) -> str:
    """A typed value in a few words: `S, 14 bytes`, or what it is."""
    ((kind, raw),) = value.items()
    if values:
        text = str(raw) if kind == "N" else repr(decode(value))
        return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
    match kind:
        case "S":
            return f"S, {_count(len(raw.encode('utf-8', 'surrogatepass')), 'byte')}"
        case "B":
            return f"B, {_count(len(binary(raw)), 'byte')}"
        case "L" | "M" | "SS" | "NS" | "BS":
            return f"{kind} of {len(raw)}"
        case _:
            return str(kind)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _walk(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Found]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is not None and new is not None and "M" in old and "M" in new:
            yield from _walk(old["M"], new["M"], f"{path}{name}.")
        elif old is None or new is None or value_bytes(old) != value_bytes(new):
            yield f"{path}{name}", old, new


def _renames(found: list[Found]) -> Iterator[tuple[str, str]]:
    """A value that left one name and came to one other, if that is the only way to see it."""
    gone: dict[bytes, list[str]] = {}
    come: dict[bytes, list[str]] = {}
    for name, old, new in found:
        if new is None:
            gone.setdefault(value_bytes(old), []).append(name)
        elif old is None:
            come.setdefault(value_bytes(new), []).append(name)
    for value, names in gone.items():
        if len(names) == 1 and len(come.get(value, ())) == 1:
            yield names[0], come[value][0]
