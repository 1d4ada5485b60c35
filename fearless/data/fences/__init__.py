"""What keeps an application from writing a side's tables while, and after, the other takes over.

A fence belongs to an `attempt`: the number of the cutover that put it up. Lifting is of that
attempt and those before it, so that a request of an earlier attempt which lands late, or a process
that wakes up, can never lift the fence of a later one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from fearless.interfaces import Report


class Fence(Protocol):
    """Keeps applications from writing one side. Every method may be called again at any time."""

    @property
    def timed(self) -> bool:
        """Whether a fence of some seconds lifts itself though nobody is there to do it."""

    def fence(self, attempt: int, seconds: float | None) -> None:
        """Stop the writes: for so long from now, or for good (None).

        The service has accepted it when this returns; `confirm` says whether it holds. One for good
        stays so, whatever the same attempt or an earlier one asks for later.
        """

    def unfence(self, attempt: int) -> None:
        """Lift every fence of this attempt and of those before it."""

    def confirm(self, report: Report) -> str:
        """Return when no write is let through any more, with the evidence in one line.

        Raises FearlessError when that cannot be shown.
        """

    def fenced(self) -> bool:
        """Whether one is up, as far as the service tells (a moment ago)."""


class Memory(Protocol):
    """What a fence must not forget when its process dies; rows are of plain values."""

    def load(self, name: str) -> Mapping[str, Any] | None:
        """The row saved under that name, read consistently."""

    def save(self, name: str, row: Mapping[str, Any]) -> None:
        """Keep it; returns when it is kept."""


class Several:
    """Several fences of one side as one. It lifts itself only if each of them does."""

    def __init__(self, fences: Sequence[Fence]) -> None:
        self._fences = tuple(fences)

    @property
    def timed(self) -> bool:
        """Whether all of them lift themselves."""
        return all(fence.timed for fence in self._fences)

    def fence(self, attempt: int, seconds: float | None) -> None:
        """Put up each, in order."""
        for fence in self._fences:
            fence.fence(attempt, seconds)

    def unfence(self, attempt: int) -> None:
        """Lift each, the last one first."""
        for fence in reversed(self._fences):
            fence.unfence(attempt)

    def confirm(self, report: Report) -> str:
        """All the evidence."""
        return "; ".join(fence.confirm(report) for fence in self._fences)

    def fenced(self) -> bool:
        """Whether any is up."""
        return any(fence.fenced() for fence in self._fences)


def server_time(answer: Mapping[str, Any]) -> datetime:
    """When the service answered, by its own clock; by ours where it does not tell."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
