"""The operator lock: one change at a time per release or dev stack, with the holder's name."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fearless.errors import Refused
from fearless.git import whoami
from fearless.ledger import Ledger
from fearless.owner import Owner

LEASE = 60.0
"""Seconds a lock lives without being renewed; it is renewed every quarter of that."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: a process on a host, since when (Unix time), doing what."""

    token: str
    user: str
    host: str
    place: str
    pid: int
    start: str
    since: float
    expires: float
    doing: str

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%H:%M:%S UTC")
        return f"{self.user}@{self.host} (pid {self.pid}) since {since}, doing `{self.doing}`"


class Lock:
    """Held from the first change a command makes until its process ends.

    Releases of an app share the lock `release`; each dev stack has one of its own name, so that
    developers and releases never wait for each other.
    """

    def __init__(
        self,
        ledger: Ledger,
        doing: str,
        clock: Callable[[], float] = time.time,
        name: str = "release",
    ) -> None:
        self.ledger = ledger
        self.doing = doing
        self.clock = clock
        self.name = name
        self._owner = Owner.me()
        self._guard = threading.Lock()
        self._mine: Holder | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def _key(self) -> dict[str, dict[str, str]]:
        return {"pk": {"S": "LOCK"}, "sk": {"S": self.name}}

    @property
    def held(self) -> bool:
        """Whether this command has taken it (and not given it back)."""
        return self._mine is not None

    def holder(self) -> Holder | None:
        """Who holds it now: its lease has not run out, and its process is not known to be dead."""
        holder = self._read()
        return holder if holder and not self._over(holder) else None

    def hold(self) -> None:
        """Take the lock, or make sure by asking that it is still ours; every change calls this.

        Raises Refused with the holder's name and since when, or when our lease was lost.
        """
        if self._mine is not None:
            if not self._renewed():
                raise Refused(
                    "the operator lock was lost while this command was paused; run it again"
                )
            return
        self.ledger.ensure()
        before = self._read()
        if before is not None and not self._over(before):
            raise Refused(_busy(before))
        now = self.clock()
        mine = Holder(
            token=self._owner.id,
            user=whoami(),
            host=socket.gethostname(),
            place=self._owner.place,
            pid=self._owner.pid,
            start=self._owner.start,
            since=now,
            expires=now + LEASE,
            doing=self.doing,
        )
        if not self._swap(mine, before):
            winner = self._read()
            raise Refused(_busy(winner) if winner else "the lock was taken meanwhile; try again")
        self._mine = mine
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the lock back if we hold it; nobody is told when the ledger cannot be reached."""
        if self._mine is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=LEASE / 4)
        with self._guard, contextlib.suppress(Exception):  # its lease runs out by itself
            self.ledger.client.delete_item(
                TableName=self.ledger.table, Key=self._key, **_condition(self._mine)
            )
        self._mine = None

    def _renew(self) -> None:
        while not self._stop.wait(LEASE / 4):
            try:
                if not self._renewed():
                    return
            except Exception:  # noqa: BLE001, S112 (`hold` asks before a change)
                continue

    def _renewed(self) -> bool:
        with self._guard:
            if self._mine is None:
                return False
            renewed = replace(self._mine, expires=self.clock() + LEASE)
            if not self._swap(renewed, self._mine):
                return False
            self._mine = renewed
            return True

    def _read(self) -> Holder | None:
        row = self.ledger.get("LOCK", self.name)
        return Holder(**row) if row else None

    def _swap(self, new: Holder, old: Holder | None) -> bool:
        condition = _condition(old) if old else {"ConditionExpression": "attribute_not_exists(pk)"}
        row = self.ledger.row("LOCK", self.name, asdict(new))
        try:
            self.ledger.client.put_item(
                TableName=self.ledger.table, Item={**row, "version": _version(new)}, **condition
            )
        except self.ledger.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _over(self, holder: Holder) -> bool:
        return holder.expires < self.clock() or self._owner.dead(asdict(holder))


def _version(holder: Holder) -> dict[str, str]:
    """What a change of the lock is conditional on: who holds it, and how often it was renewed."""
    return {"S": f"{holder.token} {holder.expires!r}"}


def _condition(holder: Holder) -> dict[str, Any]:
    return {
        "ConditionExpression": "version = :version",
        "ExpressionAttributeValues": {":version": _version(holder)},
    }


def _busy(holder: Holder) -> str:
    return f"the operator lock is held by {holder}; wait for it, or stop that process"
