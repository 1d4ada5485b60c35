"""A process, told apart from every other one anywhere and at any time; and whether it is dead."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def boottime() -> float:
    """Seconds on a clock that also runs while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def started(pid: int) -> str | None:
    """When the process began, in the kernel's ticks; None when there is none of that id."""
    text = _read(f"/proc/{pid}/stat")
    if not text or text.rpartition(")")[2].split()[0] in "ZX":
        return None
    return text.rpartition(")")[2].split()[19]


@dataclass(frozen=True)
class Owner:
    """A process that holds something.

    `place` is the machine's boot and its process namespace: only there does `pid` mean anything.
    It is empty where neither can be read, and then nobody is ever called dead.
    """

    host: str
    place: str
    pid: int
    start: str
    id: str

    @classmethod
    def me(cls) -> Owner:
        """This process, as a new owner."""
        boot = _read("/proc/sys/kernel/random/boot_id").strip()
        try:
            space = Path("/proc/self/ns/pid").readlink().name
        except OSError:
            space = ""
        pid = os.getpid()
        place = f"{boot}/{space}" if boot and space else ""
        return cls(socket.gethostname(), place, pid, started(pid) or "", uuid.uuid4().hex)

    def fields(self) -> dict[str, Any]:
        """What a row says of who holds it, and `dead` reads there."""
        return {
            "owner": self.id,
            "host": self.host,
            "place": self.place,
            "pid": self.pid,
            "start": self.start,
        }

    def dead(self, row: Mapping[str, Any]) -> bool:
        """True when the owner in `row` ran here and certainly does not any more.

        `row` has `place`, `pid` and `start`. With /proc mounted so that other users' processes
        are hidden, an unreadable one may be alive.
        """
        if not self.place or row["place"] != self.place:
            return False
        pid = int(row["pid"])
        now = started(pid)
        if now is None:
            return not _exists(pid)
        return now != str(row["start"])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return not state or state[0] not in "ZX"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
