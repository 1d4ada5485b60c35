"""Update DNS: fence the old stack, drain, verify, open the new one, point the name at it.

How one stack follows another without losing a write is in `switch`; this is the way forward.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from fearless.errors import Refused
from fearless.interfaces import DataRun, DataState, Journal, Stack
from fearless.ledger import Live
from fearless.procedure import Done
from fearless.steps.gate import ask, candidate, gates
from fearless.steps.late import look
from fearless.steps.switch import Switch, balancer
from fearless.steps.way_back import check_declared, declared, one_way, way_back

FRESH = 120.0
"""Seconds a gate's passing counts; older, or ignored with `doit ignore`, it is asked again."""


class Cutover(Switch):
    """The live pointer and the DNS record, moved to this release's stack."""

    name: ClassVar[str] = "cutover"

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
        procedure.check_rolled_back()
        row = procedure.ledger.get("CUTOVER", stack.id) or {}
        if live is not None and live.stack_id == stack.id:
            return self._point(stack, live, row)
        if procedure.sealed():
            procedure.report.line("going on with the cutover that was interrupted")
            return self._open(stack, live, row)
        self._check_gates(stack)
        source = procedure.live_stack()
        if source is None or live is None:
            return self._first(stack, procedure.project.dns.current())
        pointed = self._pointed(source)
        run = procedure.data_run()
        if run is not None:
            check_declared(run)
        row = {
            "from": live.stack_id,
            "from_sha": live.sha,
            "former": asdict(live),
            "dns": pointed,
            "fenced_at": None,
        }
        self._remember(stack, row)
        if run is not None:
            row = self._seal(run, row)
        return self._open(stack, live, row)

    def _point(self, stack: Stack, live: Live, row: dict[str, Any]) -> Done:
        """Besides, look at once for what reached the old stack although it was closed."""
        done = super()._point(stack, live, row)
        if row.get("from"):
            try:
                look(self.procedure, way_back(self.procedure.project))
            except Refused as error:  # it is live all the same
                self.procedure.report.line(str(error.args[0]))
        return done

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

    # ---------------------------------------------------------------- what is this direction's

    def _allow(self, run: DataRun, state: DataState) -> None:
        """Refuse when items would not come back as they were, unless that is declared."""
        if state.one_way and not one_way(run.transforms, run.tables):
            if why := declared(run):
                self.procedure.report.line(f"{state.one_way}, as declared: {why}")
                return
            raise Refused(
                f"{state.one_way}: a rollback would change them. Correct `down`, or declare "
                '`irreversible="why"` in the transform, and commit'
            )

    def _still(self, run: DataRun) -> None:
        """Fix where the way back starts, or where the list of what a rollback loses does."""
        procedure, why = self.procedure, one_way(run.transforms, run.tables)
        if why:
            procedure.report.line(f"there will be no way back: {why}")
        if not why or isinstance(procedure.project.store, Journal):
            procedure.project.store.turn(run, procedure.report)

    def _remember(self, stack: Stack, row: dict[str, Any]) -> None:
        self.procedure.ledger.put("CUTOVER", stack.id, row)

    def _pointer(self, stack: Stack, live: Live | None) -> Live:
        procedure = self.procedure
        return Live(
            stack.id,
            stack.name,
            procedure.release.name,
            procedure.release.sha,
            procedure.ledger.clock(),
            procedure.lineage(live),
        )

    def _history(self, stack: Stack, live: Live, row: dict[str, Any]) -> None:
        procedure = self.procedure
        procedure.ledger.remember(procedure.release, went_live=stack.id, live_since=live.since)
        if row.get("from_sha"):
            procedure.ledger.amend(str(row["from_sha"]), superseded_at=live.since)

    def _announce(self, live: Live, url: str) -> None:
        procedure = self.procedure
        procedure.ledger.event("live", f"{procedure.release.name} is live", stack=live.stack)
        procedure.announce("live", f"{procedure.release.name} is live at {url}")
