"""The rows `T#tab#GRP#<hash>`: every target key that was ever written for a group.

Keys are only added. A pass that begins while another one is under way must find the keys of both,
and so must the one that follows a crash: dropping a key is safe only when nobody writes any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from fearless.data.calls import Caller
from fearless.data.groups import Group
from fearless.data.state import StateTable
from fearless.data.tables import TableInfo, Typed, show
from fearless.errors import FearlessError

ATTEMPTS = 50
MOST = 3_000


class GroupRows:
    """The rows of one table; `target` tells equal keys apart from different ones."""

    def __init__(
        self,
        state: StateTable,
        caller: Callable[[], Caller],
        generation: int,
        name: str,
        target: TableInfo,
    ) -> None:
        self._state = state
        self._caller = caller
        self._generation = generation
        self._name = name
        self._target = target

    def add(self, group: Group, keys: Iterable[Typed]) -> Sequence[Typed]:
        """Keep these, too, and return all of them; durable when it returns."""
        mine = {self._target.key_id(key): key for key in keys}
        sk = f"T#{self._name}#GRP#{blake2b(group.id, digest_size=16).hexdigest()}"
        for attempt in range(ATTEMPTS):
            caller = self._caller()
            row = self._state.row(caller, self._generation, sk)
            found = {self._target.key_id(key): key for key in (row["keys"] if row else ())}
            if row and mine.keys() <= found.keys():
                return list(found.values())
            found |= mine
            if len(found) > MOST:
                raise FearlessError(
                    f"table {self._name}: the group {show(group.key)} was written to more than "
                    f"{MOST} keys, which is the most: let merge() give its outputs keys that stay"
                )
            new = {"group": group.key, "keys": list(found.values())}
            seen = int(row["v"]) if row else None
            if self._state.replace(caller, self._generation, sk, new, seen) is not None:
                return list(found.values())
            caller.pause(attempt)
        raise FearlessError(f"the row {sk} is being changed by somebody else all the time")
