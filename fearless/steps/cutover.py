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
        """Done when ledger, rights and DNS all say that this release's stack is live."""
        procedure = self.procedure
        live, stack = procedure.live(), procedure.stack()
        if live is None or stack is None or live.stack_id != stack.id:
            return None
        record = procedure.ledger.release(procedure.release.sha) or {}
        if record.get("went_live") != stack.id or not procedure.writable(stack):
            return None
        if procedure.project.dns.current() != balancer(stack):
            return None
        return Done(f"live at {procedure.public_url()}", {"url": procedure.public_url()})

    def make(self) -> Done:
        """Go live, or finish going live."""
        procedure = self.procedure
        stack, live = procedure.need_stack(), procedure.live()
        row = procedure.ledger.get("CUTOVER", stack.id) or {}
        if live is not None and live.stack_id == stack.id:
            return self._point(stack, live, row)
        if procedure.sealed():
            procedure.report.line("going on with the cutover that was interrupted")
            return self._open(stack, live, row)
        self._check_gates(stack)
        source = procedure.live_stack()
        pointed = procedure.project.dns.current()
        if source is None or live is None:
            return self._first(stack, pointed)
        if pointed != balancer(source):
            raise Refused(
                f"{procedure.project.domain} points at {pointed}, not at the live stack "
                f"{source.name} ({balancer(source)}); somebody changed it by hand. Point it back"
            )
        run = procedure.data_run()
        row = {"from": live.stack_id, "from_sha": live.sha, "dns": pointed, "fenced_at": None}
        self._remember(stack, row)
        if run is not None:
            row = self._seal(run, row)
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

    def _first(self, stack: Stack, pointed: str | None) -> Done:
        procedure = self.procedure
        replaces = procedure.project.config.cutover.replaces.lower().rstrip(".")
        if pointed not in (None, replaces, balancer(stack)):
            raise Refused(
                f"nothing is live by the ledger {procedure.ledger.table}, but "
                f"{procedure.project.domain} points at {pointed}. Is this the right account, "
                f'region and [app] name? To take it over, set `replaces = "{pointed}"` under '
                "[cutover]"
            )
        row = {"from": None, "from_sha": None, "dns": pointed, "fenced_at": None}
        self._remember(stack, row)
        return self._open(stack, None, row)

    def _seal(self, run: DataRun, row: dict[str, Any]) -> dict[str, Any]:
        """Close the old stack for good, once the new one is proven equal; or undo everything.

        The row SEAL is what a rerun goes forward from. It is written after the permanent fence,
        and removed before anything that may open the old stack again: while it is there, nobody
        can have written.
        """
        procedure, store = self.procedure, self.procedure.project.store
        budget = procedure.project.config.cutover.budget
        procedure.change()
        if not store.verified(run):
            self._equal(store.verify(run, procedure.report))
        store.follow(run, procedure.report)
        row["fenced_at"] = procedure.ledger.clock()
        self._remember(run.target, row)
        began = procedure.monotonic()
        try:
            procedure.change()
            procedure.unseal()
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
            self._undo(run.source)
            raise
        procedure.seal(run.source, run.target)
        return row

    def _undo(self, source: Stack) -> None:
        """Let the old stack write again, if it is still the live one and still ours to change."""
        procedure = self.procedure
        procedure.change()
        live = procedure.live()
        if live is None or live.stack_id != source.id:
            procedure.report.line(f"{source.name} is not live any more: its writes stay paused")
            return
        procedure.project.store.open(source)
        procedure.report.line(f"writes to {source.name} go on; the cutover was undone")

    def _open(self, stack: Stack, live: Live | None, row: dict[str, Any]) -> Done:
        """From here on only forward: first the pointer, of which there is one, then the rights."""
        procedure = self.procedure
        procedure.change()
        new = Live(
            stack.id,
            stack.name,
            procedure.release.name,
            procedure.release.sha,
            procedure.ledger.clock(),
            procedure.lineage(live),
        )
        procedure.ledger.go_live(new, live)
        return self._point(stack, new, row)

    def _point(self, stack: Stack, live: Live, row: dict[str, Any]) -> Done:
        procedure = self.procedure
        procedure.change()
        procedure.ledger.remember(procedure.release, went_live=stack.id, live_since=live.since)
        if row.get("from_sha"):
            procedure.ledger.amend(str(row["from_sha"]), superseded_at=live.since)
        procedure.project.store.open(stack)
        procedure.unseal()
        procedure.project.dns.point(stack, row.get("dns"))
        url = procedure.public_url()
        self._wait(stack, url)
        pause = None
        if row.get("fenced_at"):
            pause = round(procedure.ledger.clock() - float(row["fenced_at"]), 2)
        self._remember(stack, {**row, "write_pause": pause})
        procedure.ledger.event("live", f"{procedure.release.name} is live", stack=stack.name)
        procedure.announce("live", f"{procedure.release.name} is live at {url}")
        paused = f", writes were paused for {pause:.1f} s" if pause is not None else ""
        return Done(f"live at {url}{paused}", {"url": url, "write_pause": pause})

    @staticmethod
    def _equal(verdict: Verdict) -> None:
        if not verdict.clean:
            wrong = (*verdict.missing, *verdict.extra, *verdict.different)
            raise Refused(
                f"{len(wrong)} items of the candidate differ from T(production), the first is "
                f"{wrong[0]}; nothing was changed, production goes on"
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
            return self.procedure.project.dns.current() == balancer(stack), "another stack"
        try:
            answered = str(json.loads(body).get("stack"))
        except (ValueError, AttributeError):
            return False, f"{app.release} is not JSON with a `stack`"
        return answered == stack.name, f"stack {answered}"

    def _remember(self, stack: Stack, row: dict[str, Any]) -> None:
        self.procedure.ledger.put("CUTOVER", stack.id, row)


def balancer(stack: Stack) -> str:
    """The DNS name of a stack's load balancer, as DnsProvider.current gives it."""
    return stack.outputs["LoadBalancerDNS"].lower().rstrip(".")
