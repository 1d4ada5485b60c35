"""Go from one stack to another: close, drain, compare, open, point. The same in both directions.

At every moment at most one stack's applications may write. The old stack's fence lifts itself
after `[cutover] budget` seconds, so an operator's machine that dies leaves production writing;
it is made permanent only when the other stack has been proven equal, and only then is that one
opened. Until that point every failure undoes itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, ClassVar

from fearless import http
from fearless.errors import FearlessError, Refused
from fearless.interfaces import DataRun, DataState, Stack, Verdict
from fearless.ledger import Live
from fearless.procedure import Done, Procedure, when
from fearless.steps.gate import quarantine
from fearless.steps.sync import broken

MARGIN = 5.0
SKEW = 2.0
"""Seconds of the budget that must be left when the fence is made permanent."""

ANSWERS = 5
"""Consecutive fresh connections to the name that must reach the new stack."""

SUSPECTS = 1800.0
"""Seconds to wait for what a dead worker may still write: no request lives half as long."""


class Switch:
    """The live pointer, the right to write and the DNS record, moved to another stack."""

    name: ClassVar[str]

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    # ---------------------------------------------------------------- what differs

    def _remember(self, stack: Stack, row: dict[str, Any]) -> None:
        """Write down how far it is; `stack` is the one that goes live."""
        raise NotImplementedError

    def _pointer(self, stack: Stack, live: Live | None) -> Live:
        """The live pointer once it is done."""
        raise NotImplementedError

    def _history(self, stack: Stack, live: Live, row: dict[str, Any]) -> None:
        """Write into the release's records what happened; called again after a crash."""
        raise NotImplementedError

    def _announce(self, live: Live, url: str) -> None:
        """Tell the ledger's history, and the notifiers."""
        raise NotImplementedError

    def _allow(self, run: DataRun, state: DataState) -> None:
        """Refuse to go on, once everything was compared and before anything is paused."""

    def _still(self, run: DataRun) -> None:
        """What is to be done while both sides stand still and are equal."""

    # ---------------------------------------------------------------- in order

    def _pointed(self, source: Stack) -> str:
        """What DNS points at: the live stack's load balancer, or somebody else changed it."""
        procedure = self.procedure
        pointed = procedure.project.dns.current()
        if pointed is None or pointed != balancer(source):
            raise Refused(
                f"{procedure.project.domain} points at {pointed}, not at the live stack "
                f"{source.name} ({balancer(source)}); somebody changed it by hand. Point it back"
            )
        return pointed

    def _seal(self, run: DataRun, row: dict[str, Any]) -> dict[str, Any]:
        """Close the source for good, once the target is proven equal to it; or undo everything."""
        procedure, store = self.procedure, self.procedure.project.store
        procedure.change()
        if held := store.state(run).quarantined:
            self._refuse_quarantine(run, held)
        if not store.verified(run):
            self._equal(store.verify(run, procedure.report), run)
        self._catch_up(run)

        def prove() -> None:
            store.drain(run, procedure.report)
            self._equal(store.verify(run, procedure.report, still=True), run)
            self._still(run)

        return self._close(run.source, run.target, row, prove)

    def _close(
        self, source: Stack, target: Stack, row: dict[str, Any], prove: Callable[[], None]
    ) -> dict[str, Any]:
        """Pause the source's writes, `prove` that the target may follow, close the source.

        The row SEAL is what a rerun goes forward from. It is written after the permanent fence,
        and removed before anything that may open the source again: while it is there, nobody
        can have written.
        """
        procedure, store = self.procedure, self.procedure.project.store
        budget = procedure.project.config.cutover.budget
        row["fenced_at"] = procedure.ledger.clock()
        self._remember(target, row)
        began = procedure.monotonic()
        try:
            procedure.change()
            procedure.unseal()
            store.fence(source, budget)
            procedure.report.line(f"writes to {source.name} are paused")
            store.confirm_fence(source, procedure.report)
            prove()
            self._in_time(began, MARGIN, target)
            procedure.change()
            store.fence(source, None)
            self._in_time(began, SKEW, target)
        except BaseException:
            self._undo(source)
            raise
        procedure.seal(source, target)
        return row

    def _in_time(self, began: float, left: float, target: Stack) -> None:
        """Raise unless `left` seconds of the budget are left.

        After it the timed fence has lifted itself, and production may have written.
        """
        budget = self.procedure.project.config.cutover.budget
        took = self.procedure.monotonic() - began
        if took > budget - left:
            raise FearlessError(
                f"the {self.name} had taken {took:.0f} s of its {budget:.0f} s ([cutover] budget) "
                f"before {target.name} could be opened, and the last {left:.0f} s are kept for "
                "closing the other stack; nothing was changed, production goes on. Raise the "
                "budget, or look at what was slow"
            )

    def _catch_up(self, run: DataRun) -> None:
        """Apply what changed, and wait until no worker that died can still write anything."""
        procedure, deadline = self.procedure, None
        while True:
            state = procedure.project.store.follow(run, procedure.report)
            if state.phase == "broken":
                raise FearlessError(broken(state))
            if state.quarantined:
                self._refuse_quarantine(run, state.quarantined)
            if not state.suspects:
                return self._allow(run, state)
            deadline = deadline or procedure.monotonic() + SUSPECTS
            until = f", until {when(state.suspects_due)} at most" if state.suspects_due else ""
            what = f"{state.suspects} items that a worker which died may still write{until}"
            if procedure.monotonic() > deadline:
                raise Refused(
                    f"there are still {what}, after {SUSPECTS / 60:.0f} minutes; production goes "
                    "on. Look at what keeps `doit sync` from making them sure"
                )
            procedure.report.progress("waiting", 0, None, what)
            time.sleep(0.5)

    def _refuse_quarantine(self, run: DataRun, count: int) -> None:
        rows = self.procedure.project.store.quarantine(run)
        told = quarantine(rows) if rows else f"{count} items are in quarantine"
        raise Refused(f"{told}. Or accept that one is left out: `doit quarantine` shows how")

    def _undo(self, source: Stack) -> None:
        """Let the old stack write again, if it is still the live one and still ours to change."""
        procedure = self.procedure
        procedure.change()
        live = procedure.live()
        if live is None or live.stack_id != source.id:
            procedure.report.line(f"{source.name} is not live any more: its writes stay paused")
            return
        procedure.project.store.open(source)
        procedure.report.line(f"writes to {source.name} go on; the {self.name} was undone")

    def _open(self, stack: Stack, live: Live | None, row: dict[str, Any]) -> Done:
        """From here on only forward: first the pointer, of which there is one, then the rights."""
        self.procedure.change()
        new = self._pointer(stack, live)
        self.procedure.ledger.go_live(new, live)
        return self._point(stack, new, row)

    def _point(self, stack: Stack, live: Live, row: dict[str, Any]) -> Done:
        procedure = self.procedure
        procedure.change()
        self._history(stack, live, row)
        procedure.project.store.open(stack)
        procedure.unseal()
        procedure.project.dns.point(stack, row.get("dns"))
        url = procedure.public_url()
        self._wait(stack, url)
        pause = None
        if row.get("fenced_at"):
            pause = round(procedure.ledger.clock() - float(row["fenced_at"]), 2)
        self._remember(stack, {**row, "write_pause": pause, "done": True})
        self._announce(live, url)
        paused = f", writes were paused for {pause:.1f} s" if pause is not None else ""
        return Done(f"live at {url}{paused}", {"url": url, "write_pause": pause})

    def _equal(self, verdict: Verdict, run: DataRun) -> None:
        if not verdict.clean:
            wrong = (*verdict.missing, *verdict.extra, *verdict.different)
            what = (
                f"{run.target.name} differ from T({run.source.name})"
                if run.back
                else ("the candidate differ from T(production)")
            )
            raise Refused(
                f"{len(wrong)} items of {what}, the first is {wrong[0]}; nothing was changed, "
                "production goes on"
            )

    def _wait(self, stack: Stack, url: str) -> None:
        """Ask the name itself until only the new stack answers."""
        procedure = self.procedure
        limit = procedure.project.config.cutover.timeout
        deadline = procedure.monotonic() + limit
        good, last = 0, "nothing yet"
        while good < ANSWERS:
            right, last = self._answer(stack, url)
            good = good + 1 if right else 0
            if not right:
                if procedure.monotonic() > deadline:
                    raise FearlessError(
                        f"{url} does not answer from {stack.name} {limit:.0f} s after the DNS "
                        f"change (last: {last}). {stack.name} is live and the other one is closed: "
                        "run the same command again when the name resolves"
                    )
                procedure.report.progress(f"waiting for {url}", 0, None, last)
                time.sleep(0.1)

    def _answer(self, stack: Stack, url: str) -> tuple[bool, str]:
        app = self.procedure.project.app
        try:
            status, body = http.get(url + (app.release or app.health), timeout=5)
        except OSError as error:
            return False, str(error)
        if status != 200:
            return False, f"HTTP {status}"
        if not app.release:
            return self.procedure.project.dns.current() == balancer(stack), "another stack"
        try:
            answered = str(json.loads(body).get("stack"))
        except (ValueError, AttributeError):
            return False, f"{app.release} is not JSON with a `stack`"
        return answered == stack.name, f"stack {answered}"


def balancer(stack: Stack) -> str:
    """The DNS name of a stack's load balancer, as DnsProvider.current gives it."""
    return stack.outputs["LoadBalancerDNS"].lower().rstrip(".")
