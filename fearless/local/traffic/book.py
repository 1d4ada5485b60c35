"""What must be true because it was acknowledged: every write, and how to check one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fearless.local.traffic.client import Answer


@dataclass(frozen=True)
class Entry:
    """What a path must show: at least these fields, or 404 (`fields` None: it was deleted)."""

    fields: Mapping[str, Any] | None
    version: int


class Book:
    """The acknowledged state of every path that was written, by whoever wrote it last.

    A path that is being written has no certain state, so nothing is said about it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._writing: set[str] = set()
        self._version = 0

    def __len__(self) -> int:
        return len(self._entries)

    def writing(self, path: str) -> None:
        """A write to the path begins: its state is uncertain until it is settled."""
        with self._lock:
            self._writing.add(path)

    def settle(self, path: str) -> None:
        """The write did not happen: what was true before still is."""
        with self._lock:
            self._writing.discard(path)

    def acknowledge(self, path: str, fields: Mapping[str, Any] | None) -> None:
        """The write was acknowledged: this is what the path shows from now on."""
        with self._lock:
            self._version += 1
            self._entries[path] = Entry(fields, self._version)
            self._writing.discard(path)

    def entry(self, path: str) -> Entry | None:
        """What the path must show now, if that is certain."""
        with self._lock:
            return None if path in self._writing else self._entries.get(path)

    def believed(self, path: str) -> Entry | None:
        """What the path showed before the write that is going on."""
        with self._lock:
            return self._entries.get(path)

    def uncertain(self) -> int:
        """How many paths have a write of which nobody could say whether it was carried out."""
        with self._lock:
            return len(self._writing)

    def paths(self) -> list[str]:
        """Every path that was written, in the order of the first write."""
        with self._lock:
            return list(self._entries)


def difference(entry: Entry, answer: Answer) -> str | None:
    """What is wrong with the answer, compared with what was acknowledged."""
    if entry.fields is None:
        return None if answer.status == 404 else f"was deleted, but answers {answer.status}"
    if answer.status == 404:
        return "is missing"
    shown = answer.json
    if not isinstance(shown, dict):
        return "does not show an object"
    for name, value in entry.fields.items():
        if shown.get(name) != value:
            return f"{name} is {_short(shown.get(name))}, not {_short(value)}"
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
