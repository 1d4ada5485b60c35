"""The operator lock: one change at a time per app, with a lease and the holder's name."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fearless.errors import Refused
from fearless.ledger import Ledger

LEASE = 60.0
"""Seconds a lock lives without being renewed; it is renewed every quarter of that."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: a process on a host, since when (Unix time), doing what."""

    token: str
    user: str
    host: str
    boot: str
    pid: int
    started: str
    since: float
    expires: float
    doing: str

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%H:%M:%S UTC")
        return f"{self.user}@{self.host} (pid {self.pid}) since {since}, doing `{self.doing}`"


class Lock:
    """Held from the first change a command makes until its process ends."""

    def __init__(self, ledger: Ledger, doing: str, clock: Callable[[], float] = time.time) -> None:
        self.ledger = ledger
        self.doing = doing
        self.clock = clock
        self.lost = ""
        self._mine: Holder | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def holder(self) -> Holder | None:
        """Who holds it now: its lease has not run out, and its process is not known to be dead."""
        row = self.ledger.get("LOCK", "LOCK")
        holder = Holder(**row) if row else None
        return holder if holder and not self._over(holder) else None

    def hold(self) -> None:
        """Take the lock, or keep it; every change calls this first.

        Raises Refused with the holder's name and since when, or when our lease was lost.
        """
        if self._mine is not None:
            if self.lost:
                raise Refused(self.lost)
            return
        self.ledger.ensure()
        now = self.clock()
        mine = Holder(
            token=uuid.uuid4().hex,
            user=getpass.getuser(),
            host=socket.gethostname(),
            boot=_boot(),
            pid=os.getpid(),
            started=_started(os.getpid()),
            since=now,
            expires=now + LEASE,
            doing=self.doing,
        )
        row = self.ledger.get("LOCK", "LOCK")
        before = Holder(**row) if row else None
        if before is not None and not self._over(before):
            raise Refused(_busy(before))
        if not self._swap(mine, before):
            row = self.ledger.get("LOCK", "LOCK")
            raise Refused(_busy(Holder(**row)) if row else "the lock was taken and released; retry")
        self._mine = mine
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the lock back if we hold it."""
        if self._mine is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=LEASE / 4)
        with contextlib.suppress(self.ledger.client.exceptions.ConditionalCheckFailedException):
            self.ledger.client.delete_item(
                TableName=self.ledger.table, Key=_KEY, **_condition(self._mine)
            )
        self._mine = None

    def _renew(self) -> None:
        while not self._stop.wait(LEASE / 4):
            mine = self._mine
            if mine is None:
                return
            renewed = Holder(**{**mine.__dict__, "expires": self.clock() + LEASE})
            try:
                if not self._swap(renewed, mine):
                    self.lost = "the operator lock was taken over while this command was paused"
                    return
            except Exception as error:  # noqa: BLE001 (whatever the reason, the lease decides)
                if self.clock() > mine.expires:
                    self.lost = f"the operator lock could not be renewed in time: {error}"
                    return
                continue
            self._mine = renewed

    def _swap(self, new: Holder, old: Holder | None) -> bool:
        condition = _condition(old) if old else {"ConditionExpression": "attribute_not_exists(pk)"}
        try:
            self.ledger.client.put_item(
                TableName=self.ledger.table,
                Item={**self.ledger.row("LOCK", "LOCK", new.__dict__), "token": {"S": new.token}},
                **condition,
            )
        except self.ledger.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _over(self, holder: Holder) -> bool:
        here = holder.host == socket.gethostname() and holder.boot == _boot()
        if here and _started(holder.pid) != holder.started:
            return True
        return holder.expires < self.clock()


_KEY = {"pk": {"S": "LOCK"}, "sk": {"S": "LOCK"}}


def _condition(holder: Holder) -> dict[str, Any]:
    return {
        "ConditionExpression": "#token = :token",
        "ExpressionAttributeNames": {"#token": "token"},
        "ExpressionAttributeValues": {":token": {"S": holder.token}},
    }


def _busy(holder: Holder) -> str:
    return f"the operator lock is held by {holder}; wait for it, or stop that process"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started (clock ticks since boot, from /proc), so a reused pid is noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "unknown"
