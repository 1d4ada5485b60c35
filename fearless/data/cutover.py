"""Go over from one set of tables to another without losing a write; and back the same way.

The cutover is a row of the state table. A step is written down before it is done and can be done
again, so any process can go on with it, or undo it. At most one side is writable at any moment:
the new side is opened only after the fence of the old one was made permanent in time.

CHECK     the guards hold, the new side is closed, everything was compared and is equal
FENCE     the old side is fenced, for `budget` and `margin` seconds: it lifts itself after that
CONFIRM   writing as the application is denied
DRAIN     every change up to the fence is applied
VERIFY    with both sides still, they are equal
TURN      the position is fixed from which the way back would start
OPEN      decided: the fence is made permanent (`sealed`), then the new side is opened
DONE      or ABORTED: the old side is writable as it was

Until OPEN, any failure and the end of the budget abort. `OPEN` and `ABORTED` are written on
condition that nobody has written the other. One case remains in which OPEN is given up: the fence
lifted itself before it could be made permanent; the old side took writes, so that is the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fearless.data.controller import Controller, Lost, Rows
from fearless.data.fences import Fence
from fearless.data.guards import Guard, check
from fearless.data.mover import Mover
from fearless.data.state import Row
from fearless.data.withdrawal import UNDER_WAY, Limits, Withdrawal, ended
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Report, Verdict
from fearless.owner import Owner, boottime


class Cutover:
    """Drives the cutovers of one run in one direction; `back` is the rollback.

    `source` fences the side that is live, `target` the other one; `mover` moves the data in that
    direction. `clock` also runs while the machine sleeps; `wall` is the server's, in Unix seconds.
    """

    def __init__(
        self,
        rows: Rows,
        mover: Mover,
        source: Fence,
        target: Fence,
        report: Report,
        guards: Sequence[Guard] = (),
        limits: Limits | None = None,
        back: bool = False,
        clock: Callable[[], float] = boottime,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        owner: Callable[[], Owner] = Owner.me,
        heartbeat: bool = True,
    ) -> None:
        self._rows = rows
        self._mover = mover
        self._source = source
        self._target = target
        self._report = report
        self._guards = tuple(guards)
        self._limits = limits or Limits()
        self._back = back
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._me = owner()
        self._heartbeat = heartbeat
        self.withdrawal = Withdrawal(
            rows, source, target, report, self._limits, back, wall, self._me.id
        )
        self._side, self._other = ("target", "source") if back else ("source", "target")
        self._steps: dict[str, Callable[[Controller], None]] = {
            "CHECK": self._check,
            "FENCE": self._fence,
            "CONFIRM": self._confirm,
            "DRAIN": self._drain,
            "VERIFY": self._verify,
            "TURN": self._turn,
            "OPEN": self._open,
        }

    # ------------------------------------------------------------------ what callers use

    def state(self) -> Row | None:
        """The row: `step`, `live`, `attempt`, `reason`, `evidence` and times; None before any."""
        return self._rows.read()

    def run(self) -> Row:
        """A new cutover, from CHECK to DONE. Raises what went wrong, with everything undone."""
        with self._controller() as hold:
            row = hold.row
            if row["step"] in UNDER_WAY:
                raise Refused(
                    f"a cutover is under way at step {row['step']}: go on with --resume, or give "
                    "it up with --abort"
                )
            self._check_direction(row)
            self._quiet(row, hold)
            if row["step"] == "ABORTED":
                hold.guard()
                self._source.unfence(int(row["attempt"]))
            hold.change(
                step="CHECK",
                attempt=int(row["attempt"]) + 1,
                back=self._back,
                sealed=False,
                reason="",
                evidence={},
                began=int(self._wall()),
            )
            return self._drive(hold)

    def resume(self) -> Row:
        """Go on with the one under way, within its budget. Raises as `run` does."""
        with self._controller() as hold:
            row = hold.row
            if row["step"] not in UNDER_WAY:
                raise Refused(f"no cutover is under way ({ended(row)})")
            self.withdrawal.check_same(row)
            self._report.line(f"going on at step {row['step']}")
            return self._drive(hold)

    def abort(self, reason: str = "aborted by an operator") -> Row:
        """Give it up, whoever drives it: the old side is writable as before.

        Raises Refused once the opening of the new side is decided.
        """
        return self.withdrawal.abort(reason)

    def expire(self) -> bool:
        """Abort when its budget is used up and its controller has not done so. For anybody."""
        return self.withdrawal.expire()

    # ------------------------------------------------------------------ steps

    def _check(self, hold: Controller) -> None:
        """Close the new side for good, prove that all is equal, and ask every guard."""
        self._check_direction(hold.row)
        hold.guard()
        self._target.fence(int(hold.row["attempt"]), None)
        closed = self._target.confirm(self._report)
        if not self._mover.verified:
            self._equal(self._mover.verify())
        self._mover.follow()
        found = check(self._guards)
        for finding in found:
            self._report.line(str(finding))
        now = self._wall()
        self._advance(
            hold,
            "FENCE",
            f"{len(found)} guards hold; {closed}",
            fenced_at=now,
            deadline=now + self._limits.budget,
            until=now + self._limits.budget + self._limits.margin,
        )

    def _fence(self, hold: Controller) -> None:
        """Stop the writes, until a moment that is already written down."""
        self._in_time(hold)
        seconds = float(hold.row["until"]) - self._wall()
        hold.guard()
        self._source.fence(int(hold.row["attempt"]), seconds)
        lifts = f"for {seconds:.0f} s" if self._source.timed else "until somebody lifts it"
        self._advance(hold, "CONFIRM", f"the old side is fenced {lifts}")

    def _confirm(self, hold: Controller) -> None:
        self._in_time(hold)
        self._advance(hold, "DRAIN", self._source.confirm(self._report))

    def _drain(self, hold: Controller) -> None:
        self._in_time(hold)
        state = self._mover.drain()
        self._advance(hold, "VERIFY", f"drained, {state.applied} changes applied in all")

    def _verify(self, hold: Controller) -> None:
        self._in_time(hold)
        verdict = self._mover.verify(still=True)
        self._equal(verdict)
        self._advance(hold, "TURN", f"{verdict.compared} items compared, all equal")

    def _turn(self, hold: Controller) -> None:
        """Fix the way back, and decide. A rollback has none: it ends the run."""
        self._in_time(hold)
        if self._back:
            done = "a rollback is final"
        elif one_way := self._mover.state().one_way:
            self._mover.forget_turn(one_way)
            done = f"no way back: {one_way}"
        else:
            self._mover.turn()
            done = "the way back is fixed"
        self._in_time(hold)
        self._advance(hold, "OPEN", done)

    def _open(self, hold: Controller) -> None:
        """Make the fence permanent while it holds; only then open the new side."""
        attempt = int(hold.row["attempt"])
        if not hold.row["sealed"]:
            self._unbroken(hold.row, self._limits.request)
            hold.guard()
            self._source.fence(attempt, None)
            self._unbroken(hold.row, self._limits.skew)
            hold.change(sealed=True)
        hold.guard()
        self._target.unfence(attempt)
        pause = max(0.0, self._wall() - float(hold.row["fenced_at"]))
        self._advance(
            hold, "DONE", f"open after {pause:.1f} s", live=self._other, pause=pause, owner=""
        )

    # ------------------------------------------------------------------ parts

    def _drive(self, hold: Controller) -> Row:
        try:
            while hold.row["step"] != "DONE":
                self._steps[str(hold.row["step"])](hold)
        except Lost as lost:
            self.withdrawal.let_go(int(hold.row["attempt"]), lost)
            raise
        except BaseException as error:
            self.withdrawal.undo(hold, error)
            raise
        return hold.row

    def _advance(self, hold: Controller, step: str, done: str, **changes: object) -> None:
        evidence = {**hold.row["evidence"], str(hold.row["step"]): done}
        before = hold.row["step"]
        hold.change(step=step, evidence=evidence, **changes)
        self._report.line(f"{before}: {done}")

    def _unbroken(self, row: Row, left: float) -> None:
        """Raise when the fence may lift itself within so many seconds."""
        if self._source.timed and self._wall() > float(row["until"]) - left:
            raise FearlessError(
                "the fence of the old side lifted itself before it could be made permanent, so "
                "the old side goes on; nothing was switched: try again"
            )

    def _in_time(self, hold: Controller) -> None:
        hold.guard()
        late = self._wall() - float(hold.row["deadline"])
        if late > 0:
            raise FearlessError(
                f"the cutover was at step {hold.row['step']} {late:.0f} s after its budget of "
                f"{self._limits.budget:.0f} s; nothing was switched. Raise the budget, or look at "
                "what was slow"
            )

    @staticmethod
    def _equal(verdict: Verdict) -> None:
        if not verdict.clean:
            wrong = (*verdict.missing, *verdict.extra, *verdict.different)
            raise Refused(
                f"{len(wrong)} items differ, the first is {wrong[0]}; nothing was switched: "
                "repair them, then verify"
            )

    def _check_direction(self, row: Row) -> None:
        if row["live"] != self._side:
            raise Refused(
                "the old tables are live again: there is nothing to roll back"
                if self._back
                else "the new tables are live already: roll back, or begin another run"
            )

    def _quiet(self, row: Row, hold: Controller) -> None:
        """Wait until no request of a controller that was aborted from outside can land."""
        while (left := float(row.get("quiet_until", 0)) - self._wall()) > 0:
            self._report.progress("waiting", 0, None, "for the last request of the one aborted")
            self._sleep(min(left, 1.0))
            hold.guard()

    def _controller(self) -> Controller:
        return Controller(
            self._rows,
            self._report,
            self._clock,
            self._sleep,
            self._me,
            self._limits.lease,
            self._limits.request,
            self.expire if self._heartbeat else None,
        )
