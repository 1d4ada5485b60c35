"""Update DNS: fence the old stack, drain, verify, open the new one, point the name at it.

At every moment at most one stack's applications may write. The old stack's fence lifts itself
after `[cutover] budget` seconds, so an operator's machine that dies leaves production writing;
it is made permanent only when the candidate has been proven equal, and only then is the new
stack opened. Until that point every failure undoes itself.
"""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

from fearless import http
from fearless.errors import FearlessError, Refused
from fearless.interfaces import DataRun, Stack, Verdict
from fearless.ledger import Live
from fearless.procedure import Done, Procedure
from fearless.steps.gate import ask, candidate, gates

MARGIN = 5.0
"""Seconds of the budget that must be left when the fence is made permanent."""

FRESH = 120.0
"""Seconds a gate's passing counts; older, or ignored with `doit ignore`, it is asked again."""

ANSWERS = 5
"""Consecutive fresh connections to the name that must reach the new stack."""


class Cutover:
    """The live pointer and the DNS record, moved to this release's stack."""

    name: ClassVar[str] = "cutover"

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    def find(self) -> Done | None:
        """Done when the ledger and DNS both say that this release's stack is live."""
        live, stack = self.procedure.live(), self.procedure.stack()
        if live is None or stack is None or live.stack_id != stack.id:
            return None
        if self.procedure.project.dns.current() != _balancer(stack):
            return None
        return Done(f"live at {self.procedure.public_url()}", {"url": self.procedure.public_url()})

    def make(self) -> Done:
        """Go live, or finish going live."""
        procedure = self.procedure
        stack, live = procedure.need_stack(), procedure.live()
        row = procedure.ledger.get("CUTOVER", stack.id) or {}
        if live is not None and live.stack_id == stack.id:
            return self._point(stack, row)
        if row.get("phase") == "sealed" and live and row["from"] == live.stack_id:
            procedure.report.line("going on with the cutover that was interrupted")
            return self._open(stack, live, row)
        self._check_gates(stack)
        source = procedure.live_stack()
        pointed = procedure.project.dns.current()
        if source is None or live is None:
            if pointed:
                procedure.report.line(f"{procedure.project.domain} points at {pointed} until now")
            row = {"phase": "sealed", "from": None, "dns": pointed, "fenced_at": None}
            self._remember(stack, row)
            return self._open(stack, None, row)
        if pointed != _balancer(source):
            raise Refused(
                f"{procedure.project.domain} points at {pointed}, not at the live stack "
                f"{source.name} ({_balancer(source)}); somebody changed it by hand. Point it back"
            )
        run = procedure.data_run()
        assert run is not None
        row = self._seal(run, live, pointed)
        return self._open(stack, live, row)

    # ---------------------------------------------------------------- in order

    def _check_gates(self, stack: Stack) -> None:
        procedure = self.procedure
        passed = {
            row["gate"]: row["at"]
            for row in procedure.ledger.all(f"GATES#{stack.id}")
            if row["sha"] == procedure.release.sha
        }
        now = procedure.ledger.clock()
        subject = candidate(procedure)
        for gate in gates(procedure):
            if now - passed.get(gate.name, 0.0) > FRESH:
                procedure.report.line(f"asking gate {gate.name} again")
                ask(gate, subject)

    def _seal(self, run: DataRun, live: Live, pointed: str | None) -> dict[str, Any]:
        procedure, store = self.procedure, self.procedure.project.store
        budget = procedure.project.config.cutover.budget
        row = {
            "phase": "fencing",
            "from": live.stack_id,
            "dns": pointed,
            "fenced_at": procedure.ledger.clock(),
        }
        procedure.change()
        if not store.verified(run):
            self._equal(store.verify(run, procedure.report))
        store.follow(run, procedure.report)
        self._remember(run.target, row)
        row["fenced_at"] = procedure.ledger.clock()
        began = procedure.monotonic()
        try:
            store.fence(run.source, budget)
            procedure.report.line(f"writes to {run.source.name} are paused")
            store.confirm_fence(run.source, procedure.report)
            store.drain(run, procedure.report)
            self._equal(store.verify(run, procedure.report, still=True))
            took = procedure.monotonic() - began
            if took > budget - MARGIN:
                raise FearlessError(
                    f"the cutover had taken {took:.0f} s of its {budget:.0f} s ([cutover] budget) "
                    "before the new stack could be opened; nothing was changed, production goes "
                    "on. Raise the budget, or look at what was slow"
                )
            procedure.change()
            store.fence(run.source, None)
        except BaseException:
            store.open(run.source)
            store.unfence(run.source)
            self._remember(run.target, {**row, "phase": "aborted"})
            procedure.report.line(f"writes to {run.source.name} go on; the cutover was undone")
            raise
        row["phase"] = "sealed"
        self._remember(run.target, row)
        return row

    @staticmethod
    def _equal(verdict: Verdict) -> None:
        if not verdict.clean:
            wrong = (*verdict.missing, *verdict.extra, *verdict.different)
            raise Refused(
                f"{len(wrong)} items of the candidate differ from T(production), the first is "
                f"{wrong[0]}; nothing was changed, production goes on"
            )

    def _open(self, stack: Stack, live: Live | None, row: dict[str, Any]) -> Done:
        procedure = self.procedure
        procedure.change()
        if live is not None and (source := procedure.live_stack()) is not None:
            procedure.project.store.fence(source, None)
        procedure.project.store.open(stack)
        now = procedure.ledger.clock()
        procedure.ledger.go_live(
            Live(
                stack.id,
                stack.name,
                procedure.release.name,
                procedure.release.sha,
                now,
                procedure.lineage(live),
            ),
            live,
        )
        procedure.ledger.remember(procedure.release, went_live=stack.id, live_since=now)
        if live is not None:
            procedure.ledger.amend(live.sha, superseded_at=now)
        return self._point(stack, row)

    def _point(self, stack: Stack, row: dict[str, Any]) -> Done:
        procedure = self.procedure
        procedure.change()
        procedure.project.store.open(stack)
        procedure.project.dns.point(stack, row.get("dns"))
        url = procedure.public_url()
        self._wait(stack, url)
        pause = None
        if row.get("fenced_at"):
            pause = round(procedure.ledger.clock() - float(row["fenced_at"]), 2)
        self._remember(stack, {**row, "phase": "done", "write_pause": pause})
        procedure.ledger.event("live", f"{procedure.release.name} is live", stack=stack.name)
        procedure.announce("live", f"{procedure.release.name} is live at {url}")
        paused = f", writes were paused for {pause:.1f} s" if pause is not None else ""
        return Done(f"live at {url}{paused}", {"url": url, "write_pause": pause})

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
                        f"change (last: {last}). The new stack is live and the old one is closed: "
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
            return self.procedure.project.dns.current() == _balancer(stack), "another stack"
        try:
            answered = str(json.loads(body).get("stack"))
        except (ValueError, AttributeError):
            return False, f"{app.release} is not JSON with a `stack`"
        return answered == stack.name, f"stack {answered}"

    def _remember(self, stack: Stack, row: dict[str, Any]) -> None:
        self.procedure.ledger.put("CUTOVER", stack.id, row)


def _balancer(stack: Stack) -> str:
    return stack.outputs["LoadBalancerDNS"].lower().rstrip(".")
