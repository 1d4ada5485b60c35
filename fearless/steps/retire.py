"""Delete the old stack, when every guard allows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from fearless.errors import Refused
from fearless.interfaces import Backups, Records, Release, Requests, Stack
from fearless.procedure import Done, Procedure
from fearless.steps.late import look, seen, told
from fearless.steps.switch import balancer
from fearless.steps.way_back import before, way_back


@dataclass(frozen=True)
class Old:
    """A stack that was live before, with its ledger record; `kept` says why it stays, if so."""

    stack: Stack
    record: dict[str, Any]
    kept: str = ""


class Retire:
    """Former live stacks, deleted oldest first, but for the `[retire] keep` newest."""

    name: ClassVar[str] = "retire"

    def __init__(self, procedure: Procedure, accept_data_loss: bool = False) -> None:
        self.procedure = procedure
        self._accept = accept_data_loss

    def find(self) -> Done | None:
        """Nothing is left to delete (what is kept, and why, is the detail)."""
        old = self.old()
        if self.leftovers() or any(not o.kept for o in old):
            return None
        return Done(_kept(old), {"deleted": []})

    def make(self) -> Done:
        """Delete every stack that is due, and what a deletion that was killed left."""
        deleted = []
        for old in self.old():
            if not old.kept:
                self.delete(old.stack, old.record)
                deleted.append(old.stack.name)
        for record in self.leftovers():
            self.clear(record)
        kept = _kept(self.old())
        return Done(
            f"deleted {', '.join(deleted)}; {kept}" if deleted else kept, {"deleted": deleted}
        )

    def leftovers(self) -> list[dict[str, Any]]:
        """Records of releases that were live, whose stack is gone but not yet written off."""
        live = self.procedure.live()
        there = {s.id for s in self.procedure.project.provisioner.list(self.procedure.release.app)}
        return [
            record
            for record in self.procedure.ledger.releases()
            if record.get("went_live")
            and "deleted_at" not in record
            and record["went_live"] not in there
            and (live is None or live.stack_id != record["went_live"])
        ]

    def old(self) -> list[Old]:
        """Every stack that was live and is not any more, oldest first."""
        procedure = self.procedure
        live, settings = procedure.live(), procedure.project.config.retire
        if live is None:
            return []
        records = {r.get("went_live"): r for r in procedure.ledger.releases()}
        found = [
            Old(stack, records[stack.id])
            for stack in procedure.project.provisioner.list(procedure.release.app)
            if stack.kind == "release" and stack.id != live.stack_id and stack.id in records
        ]
        found.sort(key=lambda o: float(o.record.get("superseded_at", 0)))
        spared = {o.stack.id for o in found[len(found) - settings.keep :]} if settings.keep else ()
        now = procedure.ledger.clock()
        result = []
        for old in found:
            due = float(old.record.get("superseded_at", now)) + settings.soak
            kept = ""
            if old.stack.id in spared:
                kept = f"closed to writes, to go back to ([retire] keep = {settings.keep})"
            elif due > now:
                at = datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%d %H:%M UTC")
                kept = f"until {at} ([retire] soak)"
            result.append(Old(old.stack, old.record, kept))
        return result

    def delete(self, stack: Stack, record: dict[str, Any]) -> None:
        """Delete one stack, its machine image, and what was kept for it outside."""
        procedure, project = self.procedure, self.procedure.project
        procedure.change()
        self._look(stack)
        self.allow(stack, record)
        procedure.report.line(f"deleting {stack.name}")
        former = before(procedure.ledger, live) if (live := procedure.live()) else None
        if live is not None and former is not None and former.stack_id == stack.id:
            procedure.report.line(f"with it goes the way back from {live.stack}")
        if project.config.retire.backup and isinstance(project.store, Backups):
            backups = list(project.store.backup(stack, procedure.report))
            procedure.ledger.amend(record["sha"], backups=backups)
            procedure.report.line(f"{len(backups)} tables are backed up")
        project.store.forget(stack)
        self.allow(stack, record)
        project.provisioner.delete(stack, procedure.report)
        self.clear(record)

    def _look(self, stack: Stack) -> None:
        """Once more at what reached the stack late, if it is the one before the live one."""
        project = self.procedure.project
        live = self.procedure.live()
        former = before(self.procedure.ledger, live) if live else None
        if live is None or former is None or former.stack_id != stack.id:
            return
        at_live = project if live.sha == self.procedure.release.sha else project.export(live.sha)
        look(self.procedure, way_back(at_live))

    def clear(self, record: dict[str, Any]) -> None:
        """Discard the machine image of a stack that is gone, and write the release off."""
        procedure, project = self.procedure, self.procedure.project
        app, sha = procedure.release.app, record["sha"]
        release = Release(app, sha, record["name"], record["tag"], record["stack"])
        baked = project.baker.find(release)
        shared = any(other.sha == sha for other in project.provisioner.list(app))
        if baked is not None and not shared:
            project.baker.discard(baked)
        procedure.ledger.amend(sha, deleted_at=procedure.ledger.clock())
        procedure.ledger.event("retired", f"{record['stack']} was deleted")

    def allow(self, stack: Stack, record: dict[str, Any]) -> None:
        """The guards, asked right before deleting. Raises Refused with the reason."""
        procedure, project = self.procedure, self.procedure.project
        live = procedure.live()
        if live is None:
            raise Refused(f"{stack.name} is not deleted: nothing is live")
        if live.stack_id == stack.id or live.stack == stack.name:
            raise Refused(f"{stack.name} is not deleted: it is live")
        if record.get("went_live") not in (None, stack.id) or record["sha"] != stack.sha:
            raise Refused(f"{stack.name} is not deleted: the ledger knows another stack by its SHA")
        if stack.tags.get("fearless:app") != procedure.release.app:
            raise Refused(f"{stack.name} is not deleted: it does not carry our tags")
        successor = procedure.live_stack()
        if successor is None or not successor.ready:
            raise Refused(f"{stack.name} is not deleted: the live stack {live.stack} is not ready")
        current = project.dns.current()
        if current == balancer(stack):
            raise Refused(f"{stack.name} is not deleted: {project.domain} points at it")
        others = project.dns.names(stack) if isinstance(project.dns, Records) else ()
        if others:
            raise Refused(f"{stack.name} is not deleted: {', '.join(others)} points at it")
        if current != balancer(successor):
            raise Refused(
                f"{stack.name} is not deleted: {project.domain} does not point at {live.stack}"
            )
        for row in procedure.ledger.all("DEV"):
            if row.get("source") == stack.id and not row.get("data"):
                raise Refused(
                    f"{stack.name} is not deleted: {row['stack']} is being filled from it"
                )
        if project.store.writable(stack):
            raise Refused(f"{stack.name} is not deleted: its applications may still write")
        late = seen(procedure.ledger, stack.id)
        if late is not None and (why := told(late)) and not self._accept:
            raise Refused(
                f"{stack.name} is not deleted: {why}. Put them right in {live.stack}, then run it "
                "again; or `doit retire accept_data_loss=1` deletes it without them"
            )
        self._asked(stack)

    def _asked(self, stack: Stack) -> None:
        """Refuse while clients still use the old load balancer."""
        cloud, soak = self.procedure.project.cloud, self.procedure.project.config.retire.soak
        if soak and isinstance(cloud, Requests) and (count := cloud.requests(stack, soak)):
            raise Refused(
                f"{stack.name} is not deleted: its load balancer had {count:,} requests in the "
                f"last {soak / 3600:.1f} hours ([retire] soak); find who does not follow DNS"
            )


def _kept(old: list[Old]) -> str:
    kept = [f"{o.stack.name} is kept: {o.kept}" for o in old if o.kept]
    return "; ".join(kept) or "no old stack left"
