"""What a run tells all of its workers at any time: to pause, and how many they are."""

from __future__ import annotations

import contextlib

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.calls import Caller
from fearless.data.machinery import Machinery
from fearless.data.membership import workers
from fearless.data.state import StateTable
from fearless.errors import FearlessError

PAUSE = "PAUSE"


class Signals:
    """As they were when last looked at, which a worker does with each sign of life."""

    def __init__(self, state: StateTable, machinery: Machinery) -> None:
        self._state = state
        self._kit = machinery
        self.paused = False
        self.workers = 1

    def look(self) -> None:
        """Look again; what cannot be read stays as it was."""
        with contextlib.suppress(FearlessError, ClientError, BotoCoreError):
            caller = self._caller()
            self.paused = self._state.row(caller, 0, PAUSE) is not None
            alive = [row for row in workers(self._state, caller) if not row["ghost"]]
            self.workers = max(1, len(alive))

    def pause(self, why: str) -> None:
        """Let every worker wait before its next write, until `resume`. Within a few seconds."""
        self._state.replace(self._caller(), 0, PAUSE, {"why": why}, None)

    def resume(self) -> None:
        """Let them go on."""
        self._state.delete(self._caller(), 0, PAUSE)

    def _caller(self) -> Caller:
        kit = self._kit
        return Caller(lambda: None, lambda: None, kit.clock, kit.sleep, patience=10.0)
