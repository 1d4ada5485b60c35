"""What the `fearless data` commands do, and say, with their exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict

from fearless.data.metrics import duration
from fearless.data_command.call import Call, Output, options
from fearless.data_command.cutovers import cutover, rollback
from fearless.data_command.interrupts import Interrupts
from fearless.data_command.quarantine import listing, retry, waive
from fearless.data_command.runs import Run
from fearless.data_command.status import describe
from fearless.errors import FearlessError, Refused, explain
from fearless.interfaces import DataState, Verdict

SHOWN = 20
"""Items that differ which are printed; JSON has all."""


def run(args: argparse.Namespace) -> int:
    """Carry out the command; the exit code."""
    out = Output(args.json, sys.stdout, sys.stderr)
    with Interrupts() as interrupts:
        try:
            data = Run(options(args), out.report)
            if out.events is not None:
                out.events.facts = data.facts
            return ACTIONS[args.command](Call(args, data, out, interrupts))
        except Exception as error:
            explained = explain(error)
            if out.events is not None and explained is not None:
                out.events.event("error", message=str(explained), exit_code=explained.exit_code)
            raise
        finally:
            out.report.clear()


# ------------------------------------------------------------------ moving


def _copy(call: Call) -> int:
    call.run.preflight()
    call.run.prepare()
    state = call.run.migration().copy()
    old, new = call.run.infos
    call.out.result(
        asdict(state),
        [
            f"copied {old.table} to {new.table}: {_counts(state)}",
            *_quarantined(state, call),
            f"Next: `{call.command('follow')}`",
        ],
    )
    return 0


def _follow(call: Call) -> int:
    call.run.check_begun()
    call.run.check_target()
    migration = call.run.migration()
    if call.run.back:
        old, new = call.run.infos
        call.out.report.line(f"{new.table} is live: what changes there is applied to {old.table}")
    heard = (lambda: call.interrupts.heard) if call.args.forever else None
    state = migration.follow(until=heard)
    call.interrupts.check()
    _raise_if_broken(state)
    lag = "" if state.lag is None else f", {duration(state.lag)} behind"
    call.out.result(
        asdict(state),
        [f"caught up: {state.applied:,} changes applied in all{lag}", *_quarantined(state, call)],
    )
    return 0


def _watch(call: Call) -> int:
    """Exit code 1 when something is on the old side only."""
    call.run.check_begun()
    if not call.run.back:
        raise Refused(
            f"{call.run.options.source} is live, so nothing that is written to it is late: this "
            "is for after a cutover"
        )
    late = call.run.migration(back=False).late(call.args.seconds)
    old, new = call.run.infos
    lines = [f"nothing was written to {old.table} after its fence that {new.table} has not"]
    if late.applied:
        lines = [f"{late.applied:,} late writes to {old.table} were brought over to {new.table}"]
    if late.conflicts:
        lines = [
            f"{late.conflicts:,} items of {old.table} were written after its fence, and are not "
            f"what they are in {new.table}: put them right there; `{call.command('watch')}` tells"
        ]
    call.out.result(asdict(late), lines)
    return 1 if late.conflicts else 0


def _verify(call: Call) -> int:
    call.run.check_begun()
    return _verdict(call, call.run.migration().verify())


def _repair(call: Call) -> int:
    call.run.check_begun()
    return _verdict(call, call.run.migration().repair())


def _verdict(call: Call, verdict: Verdict) -> int:
    new = call.run.infos[0 if call.run.back else 1]
    kinds = {"missing": verdict.missing, "extra": verdict.extra, "different": verdict.different}
    wrong = [f"  {kind}: {text}" for kind, texts in kinds.items() for text in texts]
    ignored = ", ".join(f"{count:,} {what}" for what, count in verdict.ignored.items() if count)
    note = f" (not counted: {ignored})" if ignored else ""
    lines = [f"equal: all {verdict.compared:,} items of {new.table} are as they must be{note}"]
    if wrong:
        more = [f"  and {len(wrong) - SHOWN:,} more"] if len(wrong) > SHOWN else []
        lines = [
            f"NOT equal: {len(wrong):,} of {verdict.compared:,} items of {new.table}{note}",
            *wrong[:SHOWN],
            *more,
            f"`{call.command('repair')}` makes them right",
        ]
    call.out.result({"clean": verdict.clean, **asdict(verdict)}, lines)
    return 0 if verdict.clean else 1


def _counts(state: DataState) -> str:
    return (
        f"{state.read:,} items read, {state.written:,} written ({state.changed:,} changed), "
        f"{state.dropped:,} dropped by transforms, {state.quarantined:,} in quarantine"
    )


def _quarantined(state: DataState, call: Call) -> list[str]:
    if not state.quarantined:
        return []
    how = call.command("quarantine list")
    return [f"{state.quarantined:,} items could not be migrated: see `{how}`"]


def _raise_if_broken(state: DataState) -> None:
    if state.phase == "broken":
        raise FearlessError(state.reason)


# ------------------------------------------------------------------ looking, waiting


def _status(call: Call) -> int:
    status = call.run.status()
    call.out.result(status, describe(status))
    return 0


def _sample(call: Call) -> int:
    found = call.run.sample(call.args.count, call.args.values)
    call.out.result({"good": found.good, **found.as_dict()}, found.lines)
    return 0 if found.good else 1


def _pause(call: Call) -> int:
    call.run.check_begun(code=False)
    call.run.pause(call.args.reason)
    call.out.result({"paused": True}, [f"paused; go on with `{call.command('resume')}`"])
    return 0


def _resume(call: Call) -> int:
    call.run.check_begun(code=False)
    call.run.resume()
    call.out.result({"paused": False}, ["going on"])
    return 0


ACTIONS: Mapping[str, Callable[[Call], int]] = {
    "copy": _copy,
    "follow": _follow,
    "verify": _verify,
    "repair": _repair,
    "cutover": cutover,
    "rollback": rollback,
    "watch": _watch,
    "status": _status,
    "sample": _sample,
    "pause": _pause,
    "resume": _resume,
    "quarantine list": listing,
    "quarantine retry": retry,
    "quarantine waive": waive,
}
