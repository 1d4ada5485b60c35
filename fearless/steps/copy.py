"""Copy every record into the new stack, migrating it on the way."""

from __future__ import annotations

from typing import ClassVar

from fearless.errors import FearlessError
from fearless.interfaces import DataState
from fearless.procedure import Done, Procedure
from fearless.steps.way_back import check_declared

NOTHING = Done("no production data yet", {"read": 0, "written": 0})


class Copy:
    """Production's data, migrated, in this release's tables."""

    name: ClassVar[str] = "copy"

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    def find(self) -> Done | None:
        """What was copied, once the whole copy is behind its barrier."""
        if (settled := self.procedure.settled()) is not None:
            return settled
        if self.procedure.live() is not None and self.procedure.stack() is None:
            return None
        run = self.procedure.data_run()
        if run is None:
            return NOTHING
        state = self.procedure.project.store.state(run)
        return _done(state) if state.phase == "replay" else None

    def make(self) -> Done:
        """Copy, or go on copying."""
        run = self.procedure.data_run()
        if run is None:
            return NOTHING
        if self.procedure.release.kind == "release":
            check_declared(run)
        state = self.procedure.project.store.copy(run, self.procedure.report)
        if state.quarantined:
            self.procedure.report.line(
                f"warning: {state.quarantined} items could not be migrated; they are kept aside "
                "and stop the cutover"
            )
        if state.phase != "replay":
            raise FearlessError(f"the copy did not finish: {state.reason or state.phase}")
        return _done(state)


def _done(state: DataState) -> Done:
    return Done(
        f"{state.read:,} items copied, {state.written:,} written, {state.changed:,} migrated, "
        f"{state.dropped:,} dropped",
        {
            "read": state.read,
            "written": state.written,
            "migrated": state.changed,
            "dropped": state.dropped,
            "quarantined": state.quarantined,
        },
    )
