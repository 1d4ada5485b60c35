"""Items that could not be migrated: kept aside, counted, retried; never dropped silently."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

from fearless.data.calls import Caller
from fearless.data.state import Row, StateTable
from fearless.data.tables import TableInfo, Typed
from fearless.data.transform import Failure
from fearless.errors import FearlessError

ATTEMPTS = 20


class Quarantine:
    """The quarantined source items of one table, as several workers may change them.

    `held` are the keys the target may still hold outputs of the item under: they must go when
    it is migrated or removed. Each change is conditional on the row being the one that was seen.
    """

    def __init__(
        self, state: StateTable, caller: Callable[[], Caller], generation: int, name: str
    ) -> None:
        self._state = state
        self._caller = caller
        self._generation = generation
        self._prefix = f"T#{name}#Q#"
        self._name = name
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self.reload()

    def reload(self) -> None:
        """See what other workers have added."""
        rows = self._state.rows(self._caller(), self._generation, self._prefix)
        with self._lock:
            self._rows = {row["sk"]: row for row in rows}

    def __len__(self) -> int:
        with self._lock:
            return sum(1 for row in self._rows.values() if row["open"])

    def __bool__(self) -> bool:
        return bool(self._rows) and len(self) > 0

    def rows(self) -> list[Row]:
        """The open rows: table, key, transform, error, message, where, seq, attempts, waived."""
        with self._lock:
            return [dict(row) for row in self._rows.values() if row["open"]]

    def held(self, key_id: bytes) -> list[Typed]:
        """The keys held for the item, if it is quarantined."""
        row = self._rows.get(self._sk(key_id)) if self._rows else None
        return list(row["held"]) if row and row["open"] else []

    def __contains__(self, key_id: bytes) -> bool:
        row = self._rows.get(self._sk(key_id))
        return bool(row and row["open"])

    def add(
        self,
        info: TableInfo,
        key: Mapping[str, Any],
        failure: Failure,
        seq: str,
        held: Iterable[Typed] = (),
        stray: bool = False,
    ) -> None:
        """Keep the item aside; keys held already stay held.

        `stray`: an item that no unit owns, whose key is not that of a unit.
        """
        key_id, more = info.key_id(key), list(held)

        def row(old: Row | None) -> Row:
            before = old["held"] if old and old["open"] else []
            keys = {info.key_id(k): k for k in (*before, *more)}
            return {
                "table": self._name,
                "key": info.key(key),
                "transform": failure.transform,
                "error": failure.error,
                "message": failure.message,
                "where": failure.where,
                "seq": seq,
                "attempts": (int(old["attempts"]) if old else 0) + 1,
                "held": list(keys.values()),
                "waived": "",
                "open": True,
                "stray": stray,
            }

        self._change(self._sk(key_id, stray), row)

    def resolve(self, key_id: bytes, stray: bool = False) -> None:
        """The item is migrated, or gone; nothing to do if it was not quarantined."""
        sk = self._sk(key_id, stray)
        seen = self._rows.get(sk) if self._rows else None
        if seen is None or not seen["open"]:
            return

        def row(old: Row | None) -> Row | None:
            newer = old is None or not old["open"] or old["attempts"] != seen["attempts"]
            return None if newer else {**(old or {}), "open": False, "held": [], "waived": ""}

        self._change(sk, row)

    def waive(self, key_id: bytes, reason: str) -> bool:
        """Accept that the target goes without the item; False when it is not quarantined."""
        found = False
        for stray in (False, True):
            sk = self._sk(key_id, stray)
            row = self._rows.get(sk)
            if row and row["open"]:
                self._change(sk, lambda old: {**old, "waived": reason} if old else None)
                found = True
        return found

    def _change(self, sk: str, make: Callable[[Row | None], Row | None]) -> None:
        with self._lock:
            old = self._rows.get(sk)
        for _ in range(ATTEMPTS):
            new = make(old)
            if new is None:
                done: Row | None = old
            else:
                seen = None if old is None else int(old["v"])
                done = self._state.replace(self._caller(), self._generation, sk, new, seen)
            if done is not None or new is None:
                with self._lock:
                    if done is not None:
                        self._rows[sk] = done
                return
            old = self._state.row(self._caller(), self._generation, sk)
        raise FearlessError(
            f"the quarantine row {sk} is being changed by somebody else all the time"
        )

    def _sk(self, key_id: bytes, stray: bool = False) -> str:
        kind = "stray-" if stray else ""
        return self._prefix + kind + blake2b(key_id, digest_size=16).hexdigest()
