"""Apply what production changed since the copy, with the same migration code."""

from __future__ import annotations

from fearless.errors import FearlessError
from fearless.interfaces import DataState
from fearless.procedure import Done, Procedure
from fearless.steps.late import look
from fearless.steps.way_back import WayBack, way_back


class Sync:
    """The candidate's data, caught up with production's.

    Of a live release it is the other way round: the stack that was live before is kept up to
    date, for a rollback; only when it is `asked` for by its own name.
    """

    def __init__(self, procedure: Procedure, asked: bool = False) -> None:
        self.procedure = procedure
        self._asked = asked

    @property
    def name(self) -> str:
        """The step; carrying back is remembered apart."""
        return "sync back" if self._carries_back() else "sync"

    def find(self) -> Done | None:
        """Only a live release, or one with no production before it, needs no catching up."""
        if self._carries_back():
            return None
        if (settled := self.procedure.settled()) is not None:
            return settled
        if self.procedure.live() is None:
            return Done("no production data yet", {})
        return None

    def make(self) -> Done:
        """Replay production's streams until nothing is left to apply."""
        if self._carries_back():
            way = way_back(self.procedure.project)
            done = carry_back(self.procedure, way)
            look(self.procedure, way)
            return done
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

    def _carries_back(self) -> bool:
        return self._asked and self.procedure.is_live


def carry_back(procedure: Procedure, way: WayBack | None) -> Done:
    """Apply what the live stack wrote to the one that was live before it."""
    if way is None or way.run is None:
        return Done("live; there is no former stack to keep up to date", {})
    if way.one_way:
        return Done(f"live; nothing leads back to {way.target.name}: {way.one_way}", {})
    state = procedure.project.store.follow(way.run, procedure.report)
    if state.phase == "broken":
        raise FearlessError(f"the way back to {way.target.name} is cut: {state.reason}")
    return Done(
        f"{state.applied:,} changes carried back to {way.target.name}, lag {state.lag or 0:.1f} s",
        {"applied": state.applied, "lag": state.lag, "back": way.target.name},
    )


def broken(state: DataState) -> str:
    """What to tell the operator when the stream has a gap."""
    return (
        f"the copy cannot be kept in sync any more: {state.reason}; run `doit copy` to copy again"
    )
