"""Who drives a cutover: one row, changed on condition only, and the lease of its controller."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.calls import Caller
from fearless.data.holder import Pulse, wait_for_expiry
from fearless.data.state import Row, StateTable
from fearless.errors import FearlessError
from fearless.interfaces import Report
from fearless.owner import Owner


class Lost(FearlessError):
    """The cutover is not ours any more: another process aborted it or took it over."""


class Rows(Protocol):
    """Where the row of a run's cutovers is kept."""

    def read(self) -> Row | None:
        """The row, read consistently; None before the first cutover."""

    def swap(self, row: Row, seen: int | None) -> bool:
        """Write it if the row is still at version `seen` (None: absent). False: it is not."""


class CutoverRow:
    """`RUN#id / CUTOVER` in the state table, and beside it what fences must remember."""

    def __init__(self, client: Any, table: str, run: str, caller: Caller) -> None:
        self._state = StateTable(client, table, run)
        self._caller = caller

    def read(self) -> Row | None:
        """The row, read consistently."""
        return self._state.row(self._caller, 0, "CUTOVER")

    def swap(self, row: Row, seen: int | None) -> bool:
        """Write it if nobody has since version `seen`; an answer that was lost is asked again."""
        return self._state.swap(self._caller, "CUTOVER", _exact(row), seen)

    def load(self, name: str) -> Mapping[str, Any] | None:
        """What a fence saved under that name."""
        return self._state.row(self._caller, 0, f"FENCE#{name}")

    def save(self, name: str, row: Mapping[str, Any]) -> None:
        """Keep it for whoever lifts the fence."""
        self._state.write(self._caller, f"FENCE#{name}", _exact(row))


class Controller:
    """The right to drive the run's cutover, held while in a `with` block. Times in seconds.

    `lease` is how long it holds without renewal, `request` how long one request may take: one
    that was sent in time has landed before anybody else may take over. `beat` is called at each
    renewal, by the thread that renews; without it there is no such thread.
    """

    def __init__(
        self,
        rows: Rows,
        report: Report,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        owner: Owner,
        lease: float = 30.0,
        request: float = 12.0,
        beat: Callable[[], object] | None = None,
    ) -> None:
        self._rows = rows
        self._report = report
        self._clock = clock
        self._sleep = sleep
        self._owner = owner
        self._lease = lease
        self._request = min(request, lease / 2)
        self._beat = beat
        self._lock = threading.RLock()
        self._pulse = Pulse("cutover", lease / 5, self._sign, Lost)
        self._renewed = float("-inf")
        self.row: Row = {}

    @property
    def id(self) -> str:
        """Who we are, as the row's `owner` says it."""
        return self._owner.id

    def __enter__(self) -> Controller:
        self._acquire()
        if self._beat is not None:
            self._pulse.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pulse.stop()
        with contextlib.suppress(FearlessError, ClientError, BotoCoreError):
            if self.row["owner"]:
                self.change(owner="")

    def guard(self) -> None:
        """Raise Lost unless a request sent now lands before anybody else can take over."""
        left = self._renewed + self._lease - self._clock()
        if left < self._request:
            raise Lost(
                "this process was paused for too long, another may have taken the cutover over: "
                "see how it stands, then --resume or --abort"
            )
        if left < self._lease * 2 / 3:
            self.change()

    def change(self, **changes: object) -> None:
        """Change the row, which also renews the lease. Raises Lost when it is not ours."""
        with self._lock:
            now = self._clock()
            row = {**self.row, **changes, "version": int(self.row["version"]) + 1}
            row["by"] = self._owner.id
            if not self._rows.swap(row, int(self.row["version"])):
                raise Lost("another process has aborted this cutover or taken it over")
            self.row, self._renewed = row, now

    def _acquire(self) -> None:
        while True:
            row = self._rows.read()
            if row is None:
                new = {"step": "", "attempt": 0, "live": "source", "version": 0, "owner": ""}
                if self._take(new, None):
                    return
            elif not row["owner"] or self._owner.dead(row):
                if self._take(row, int(row["version"])):
                    return
            else:
                silent = self._wait_for_expiry(row)
                if silent and self._take(silent, int(silent["version"])):
                    return

    def _wait_for_expiry(self, row: Row) -> Row | None:
        return wait_for_expiry(
            row,
            self._rows.read,
            "lease",
            self._report,
            self._clock,
            self._sleep,
            f"the cutover is driven by process {row['pid']} on {row['host']}",
            lambda row: (
                f"process {row['pid']} on {row['host']} is driving this cutover (step "
                f"{row['step']}): wait for it, or --abort it"
            ),
        )

    def _take(self, row: Row, seen: int | None) -> bool:
        now = self._clock()
        mine = {
            **self._owner.fields(),
            "lease": int(self._lease) + 1,
            "version": int(row["version"]) + 1,
            "by": self._owner.id,
        }
        if not self._rows.swap({**row, **mine}, seen):
            return False
        self.row, self._renewed = {**row, **mine}, now
        return True

    def _sign(self) -> None:
        self.change()
        if self._beat is not None:
            self._beat()


def _exact(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its times as an item can hold them: to the millisecond."""
    return {k: Decimal(f"{v:.3f}") if isinstance(v, float) else v for k, v in row.items()}
