"""Cutover and rollback from the command line: which fences, and the row that remembers them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fearless.data.calls import Caller
from fearless.data.controller import CutoverRow
from fearless.data.cutover import Cutover
from fearless.data.guards import of_data
from fearless.data.machinery import Machinery
from fearless.data.withdrawal import Limits
from fearless.data_command.call import Call
from fearless.data_command.fences import FENCE, OPEN, Spec, fence
from fearless.data_command.runs import Run
from fearless.data_command.sides import Side
from fearless.errors import ConfigError, Refused

CHOSEN = "chosen"
"""Under which name the fences of the last cutover are remembered, for the way back."""


@dataclass(frozen=True)
class Choice:
    """How the side that is live is fenced, and how the other one is opened."""

    fence: Spec
    open: Spec

    @classmethod
    def of(cls, fence: str | None, opening: str | None, before: Choice | None) -> Choice:
        """What the options say; for the rest what was chosen before."""
        if fence is None and before is None:
            raise ConfigError(
                "how are the applications that write the live table stopped? Give --fence "
                "role:NAME, policy, hook:COMMAND or stop:ASG"
            )
        if fence is None and before is not None and before.fence.kind == "none":
            raise ConfigError(
                "the cutover was made with --open none, so nothing is known that stops the "
                "applications of the new table: give --fence"
            )
        first = Spec.of(fence, "--fence", FENCE) if fence else before and before.fence
        second = Spec.of(opening, "--open", OPEN) if opening else before and before.open
        return cls(first or Spec("none"), second or Spec("none"))

    @property
    def reversed(self) -> Choice:
        """For the way back: what was opened is fenced, what was fenced is opened."""
        return Choice(self.open, self.fence)


class Cutovers:
    """The cutover of a run and, with `back`, its rollback."""

    def __init__(self, run: Run, back: bool = False) -> None:
        self._run = run
        self._back = back
        machinery = Machinery()
        caller = Caller(lambda: None, lambda: None, machinery.clock, machinery.sleep, patience=20.0)
        self.row = CutoverRow(run.target.wire, run.options.state_table, run.id, caller)

    def choose(self, fence: str | None, opening: str | None) -> Choice:
        """The fences that the options name, or that an earlier command named; kept for later."""
        kept = self.row.load(CHOSEN)
        before = _choice(kept) if kept else None
        if before is not None and self._back:
            before = before.reversed
        choice = Choice.of(fence, opening, before)
        forward = choice.reversed if self._back else choice
        self.row.save(CHOSEN, {"fence": str(forward.fence), "open": str(forward.open)})
        return choice

    def make(
        self, choice: Choice, budget: float, accept_one_way: bool, code: bool = True
    ) -> Cutover:
        """The state machine, with everything it drives; aborting takes no `code`."""
        run = self._run
        mover = run.migration(self._back, code)
        live, other = (run.target, run.source) if self._back else (run.source, run.target)
        old, new = run.infos
        tables = (new.table, old.table) if self._back else (old.table, new.table)
        return Cutover(
            self.row,
            mover,
            self._fence(choice.fence, live, tables[0]),
            self._fence(choice.open, other, tables[1]),
            run.report,
            guards=of_data(mover, live.wire.clock, accept_one_way),
            limits=Limits(budget=budget),
            back=self._back,
            wall=run.target.wire.clock,
        )

    def _fence(self, spec: Spec, side: Side, table: str) -> Any:
        return fence(spec, side, [table], self.row, self._run.id, self._run.report)


def _choice(row: Mapping[str, Any]) -> Choice:
    return Choice(
        Spec.of(str(row["fence"]), "--fence", OPEN), Spec.of(str(row["open"]), "--open", OPEN)
    )


def cutover(call: Call) -> int:
    """`fearless data cutover`."""
    return _go_over(call, back=False)


def rollback(call: Call) -> int:
    """`fearless data rollback`."""
    return _go_over(call, back=True)


def _go_over(call: Call, back: bool) -> int:
    args = call.args
    if args.resume and args.abort:
        raise ConfigError("--resume and --abort: only one of them")
    call.run.check_begun(code=not args.abort, decided=bool(args.resume))
    machine = Cutovers(call.run, back)
    choice = machine.choose(args.fence, args.open)
    one_way = back or bool(vars(args).get("accept_one_way"))
    machinery = machine.make(choice, float(args.budget), one_way, not args.abort)
    if args.abort:
        row = machinery.abort()
    elif args.resume:
        row = machinery.resume()
    else:
        _confirm(call, back)
        row = machinery.run()
    live = args.source if row["live"] == "source" else args.target
    pause = float(row.get("pause") or 0)
    told = f"; writes were refused for {pause:.1f} s" if row["step"] == "DONE" else ""
    shown = {name: row.get(name) for name in ("step", "live", "attempt", "reason", "evidence")}
    call.out.result(
        {**shown, "pause": pause, "table": live}, [f"{row['step']}: {live} is live{told}"]
    )
    return 0


def _confirm(call: Call, back: bool) -> None:
    args = call.args
    here, there = (args.target, args.source) if back else (args.source, args.target)
    what = f"this stops the writers of {here}, and opens {there} when nothing is missing"
    if args.yes:
        return
    if not sys.stdin.isatty() or args.json:
        raise Refused(f"{what}: add --yes")
    sys.stderr.write(f"{what[0].upper()}{what[1:]}. Type `{there}` to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != there:
        raise Refused("nothing was done")
