"""Items that could not be migrated: kept aside, counted, retried; never dropped silently."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from fearless.data.calls import Caller
from fearless.data.state import Row, StateTable
from fearless.data.tables import TableInfo, Typed
from fearless.data.transform import Failure


class Quarantine:
    """The quarantined source items of one table.

    `held` are the keys the target may still hold outputs of the item under: they must go when
    it is migrated or removed.
    """

    def __init__(
        self, state: StateTable, caller: Caller, generation: int, epoch: int, name: str
    ) -> None:
        self._state = state
        self._caller = caller
        self._generation = generation
        self._epoch = epoch
        self._prefix = f"T#{name}#Q#"
        self._name = name
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {
            row["sk"]: row for row in state.rows(caller, generation, self._prefix)
        }

    def __len__(self) -> int:
        with self._lock:
            return sum(1 for row in self._rows.values() if row["open"])

    def rows(self) -> list[Row]:
        """The open rows: table, key, transform, error, message, where, seq, attempts, held."""
        with self._lock:
            return [dict(row) for row in self._rows.values() if row["open"]]

    def held(self, key_id: bytes) -> list[Typed]:
        """The keys held for the item, if it is quarantined."""
        row = self._rows.get(self._sk(key_id))
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
    ) -> None:
        """Keep the item aside; keys held already stay held."""
        key_id = info.key_id(key)
        sk = self._sk(key_id)
        old = self._rows.get(sk)
        keys = {info.key_id(k): k for k in (*self.held(key_id), *held)}
        row: Row = {
            "table": self._name,
            "key": info.key(key),
            "transform": failure.transform,
            "error": failure.error,
            "message": failure.message,
            "where": failure.where,
            "seq": seq,
            "attempts": (int(old["attempts"]) if old else 0) + 1,
            "held": list(keys.values()),
            "open": True,
        }
        self._write(sk, row)

    def resolve(self, key_id: bytes) -> None:
        """The item is migrated, or gone; nothing to do if it was not quarantined."""
        sk = self._sk(key_id)
        row = self._rows.get(sk)
        if row and row["open"]:
            self._write(sk, {**row, "open": False, "held": []})

    def _write(self, sk: str, row: Row) -> None:
        self._state.put(self._caller, self._generation, self._epoch, sk, row)
        with self._lock:
            self._rows[sk] = row

    def _sk(self, key_id: bytes) -> str:
        return self._prefix + blake2b(key_id, digest_size=16).hexdigest()
