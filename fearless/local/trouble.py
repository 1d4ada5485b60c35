"""What went wrong in an auto-scaling group: how often in a row, why, and until when it waits."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fearless.local.groups import pause

KEPT = 20
"""Failures that are remembered of each group."""


@dataclass(frozen=True)
class Failure:
    """An instance that could not be launched, or that ended by itself. `at` is ISO 8601, UTC."""

    at: str
    reason: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class Trouble:
    """What last went wrong in a group, with the last `lines` of the app's log.

    After `failures` in a row nothing is launched before `until`, unless the group is told to run
    another image than `image`. `history` has the latest failures, newest first.
    """

    failures: int = 0
    reason: str = ""
    at: str = ""
    lines: tuple[str, ...] = ()
    until: float = 0.0
    image: str = ""
    history: tuple[Failure, ...] = ()

    def after(
        self,
        reason: str,
        now: float,
        lines: tuple[str, ...] = (),
        image: str = "",
        in_a_row: bool = True,
    ) -> Trouble:
        """The trouble after one more failure; one of an instance that had served starts anew."""
        failures = self.failures + 1 if in_a_row else 0
        at = datetime.now(UTC).isoformat(timespec="seconds")
        history = (Failure(at, reason), *self.history)[:KEPT]
        return Trouble(failures, reason, at, lines, now + pause(failures), image, history)

    def over(self) -> Trouble:
        """The trouble once an instance serves: it need not wait any more."""
        return replace(self, failures=0, until=0.0, image="")
