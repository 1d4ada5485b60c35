"""How a cutover is given up: on one condition, by anybody, and with the old side writable again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.controller import Controller, Lost, Rows
from fearless.data.fences import Fence
from fearless.data.state import Row
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.interfaces import Report

UNDER_WAY = ("CHECK", "FENCE", "CONFIRM", "DRAIN", "VERIFY", "TURN", "OPEN")
FENCED = UNDER_WAY[1:-1]
"""The steps that the budget is for: the old side is (being) fenced, and nothing is decided."""


@dataclass(frozen=True)
class Limits:
    """All in seconds.

    `budget`: from the fence to the decision, at most. `margin`: how much longer a fence holds that
    nobody lifts; a request of the decision must be answered within it. `lease`: how long a
    controller counts as alive without a sign of life. `request`: how long one request may take,
    `skew` how far the clocks of services may be apart.
    """

    budget: float = 60.0
    margin: float = 15.0
    lease: float = 30.0
    request: float = 12.0
    skew: float = 2.0

    def __post_init__(self) -> None:
        if self.budget <= 0 or self.margin < self.request or self.request < self.skew:
            raise ConfigError(
                f"a cutover's budget of {self.budget:g} s must be more than 0, and its margin of "
                f"{self.margin:g} s at least the {self.request:g} s one request may take"
            )


class Withdrawal:
    """Aborts the cutovers of one run in one direction.

    `source` fences the side that is live, `target` the one that is to be.
    """

    def __init__(
        self,
        rows: Rows,
        source: Fence,
        target: Fence,
        report: Report,
        limits: Limits,
        back: bool,
        wall: Callable[[], float],
        who: str,
    ) -> None:
        self._rows = rows
        self._source = source
        self._target = target
        self._report = report
        self._limits = limits
        self._back = back
        self._wall = wall
        self._who = who

    def abort(self, reason: str, holder: str = "") -> Row:
        """Write ABORTED unless the opening is decided, and lift the fence either way it was.

        `holder` is the controller that gives up itself. Raises Refused when it is too late.
        """
        while True:
            row = self._rows.read()
            if row is None:
                raise Refused("there is no cutover to abort")
            self.check_same(row)
            if row["step"] == "ABORTED":
                break
            if row["step"] not in UNDER_WAY:
                raise Refused(f"there is no cutover to abort ({ended(row)})")
            if not self._may(row, holder):
                raise Refused(
                    "the opening of the new side is decided: --resume it, then roll back if need be"
                )
            new = {**row, "step": "ABORTED", "reason": reason, "owner": ""}
            new |= {"version": int(row["version"]) + 1, "by": self._who}
            if row["owner"] and row["owner"] != holder:
                new["quiet_until"] = self._wall() + float(row["lease"])
            if self._rows.swap(new, int(row["version"])):
                row = new
                break
        self._source.unfence(int(row["attempt"]))
        self._report.line(f"aborted: {row['reason']}; the old side takes writes as before")
        return row

    def expire(self) -> bool:
        """Abort one whose budget is used up, for a controller that does not do so itself."""
        row = self._rows.read()
        if row is None or row["step"] not in FENCED or row["back"] != self._back:
            return False
        if self._wall() <= float(row["deadline"]):
            return False
        self.abort(f"step {row['step']} did not end within {self._limits.budget:.0f} s")
        return True

    def undo(self, hold: Controller, error: BaseException) -> None:
        """Abort after a failure of the controller itself, if that is still possible."""
        try:
            row = self._rows.read()
            if row is None or row["attempt"] != hold.row["attempt"] or row["step"] == "DONE":
                return
            if row["owner"] != hold.id and row["step"] != "ABORTED":
                return
            if row["step"] == "OPEN" and row["sealed"]:
                self._report.line("the opening of the new side is decided: go on with --resume")
                return
            self.abort(str(error.args[0]) if error.args else type(error).__name__, hold.id)
        except (FearlessError, ClientError, BotoCoreError, OSError) as trouble:
            raise FearlessError(
                f"{error}; and it could not be undone: {trouble}. {self._stays()}"
            ) from error

    def let_go(self, attempt: int, lost: Lost) -> None:
        """Somebody else ended it: lift what we may have put up after they lifted it."""
        row = self._rows.read()
        if row is None or int(row["attempt"]) != attempt:
            return
        if row["step"] == "ABORTED":
            self._source.unfence(attempt)
            raise Lost(f"the cutover was aborted: {row['reason']}") from lost
        if row["step"] == "DONE":
            self._target.unfence(attempt)

    def check_same(self, row: Row) -> None:
        """Refuse to touch what goes the other way: there, our old side is the closed one."""
        if row.get("back", self._back) != self._back:
            what = "rollback" if row["back"] else "cutover"
            raise Refused(f"the last one was a {what} ({ended(row)}): say the same for it")

    def _may(self, row: Row, holder: str) -> bool:
        """Whether it may end ABORTED: never once the new side may be open."""
        if row["step"] != "OPEN":
            return True
        if row["sealed"]:
            return False
        lapsed = self._source.timed and self._wall() > float(row["until"]) + self._limits.skew
        return lapsed or row["owner"] == holder != ""

    def _stays(self) -> str:
        if self._source.timed:
            return "The fence lifts itself unless it was made permanent; run it with --abort"
        return "THE FENCE STAYS until somebody runs it with --abort"


def ended(row: Row) -> str:
    """How the last cutover of a row ended, for people."""
    if not row["step"]:
        return "there was none yet"
    reason = f": {row['reason']}" if row.get("reason") else ""
    return f"the last one is {row['step']}{reason}"
