"""Apply what production changed since the copy, with the same migration code."""

from __future__ import annotations

from typing import ClassVar

from fearless.errors import FearlessError
from fearless.interfaces import DataState
from fearless.procedure import Done, Procedure


class Sync:
    """The candidate's data, caught up with production's."""

    name: ClassVar[str] = "sync"

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    def find(self) -> Done | None:
        """Only a live release, or one with no production before it, needs no catching up."""
        if (settled := self.procedure.settled()) is not None:
            return settled
        if self.procedure.live() is None:
            return Done("no production data yet", {})
        return None

    def make(self) -> Done:
        """Replay production's streams until nothing is left to apply."""
        run = self.procedure.data_run()
        if run is None:
            return Done("no production data yet", {})
        state = self.procedure.project.store.follow(run, self.procedure.report)
        if state.phase == "broken":
            raise FearlessError(broken(state))
        return Done(
            f"{state.applied:,} changes applied, lag {state.lag or 0:.1f} s",
            {"applied": state.applied, "lag": state.lag},
        )


def broken(state: DataState) -> str:
    """What to tell the operator when the stream has a gap."""
    return (
        f"the copy cannot be kept in sync any more: {state.reason}; run `doit copy` to copy again"
    )
