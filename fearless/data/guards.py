"""What must hold before anything is fenced: each guard measures, and says the limit and way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fearless.errors import Refused
from fearless.interfaces import DataState


@dataclass(frozen=True)
class Finding:
    """What a guard measured, what it may be at most, and what to do when it is more."""

    name: str
    measured: str
    limit: str
    holds: bool
    way_out: str

    def __str__(self) -> str:
        sign = "ok" if self.holds else "NO"
        return f"{sign}: {self.name}: {self.measured} (needed: {self.limit})"


Guard = Callable[[], Finding]


class Subject(Protocol):
    """What the guards of the data look at."""

    @property
    def verified(self) -> bool:
        """Whether everything was proven equal less than an hour ago."""

    def state(self) -> DataState:
        """How far it is."""


def check(guards: Sequence[Guard]) -> list[Finding]:
    """Ask all of them. Raises Refused with every one that does not hold."""
    findings = [guard() for guard in guards]
    failed = [finding for finding in findings if not finding.holds]
    if failed:
        raise Refused(
            "not ready for the cutover: "
            + "; ".join(
                f"{f.name} is {f.measured}, needed is {f.limit}: {f.way_out}" for f in failed
            )
        )
    return findings


def of_data(
    subject: Subject,
    wall: Callable[[], float],
    accept_one_way: bool = False,
    max_lag: float = 5.0,
    max_skew: float = 60.0,
    ours: Callable[[], float] = time.time,
) -> list[Guard]:
    """The guards of the data. `wall` is the server's clock, `ours` this machine's; in seconds.

    `accept_one_way`: a cutover from which nothing leads back is wanted.
    """

    def phase() -> Finding:
        state = subject.state()
        measured = f"{state.phase} ({state.reason})" if state.reason else state.phase
        good = state.phase == "replay"
        return Finding("phase", measured, "replay", good, "copy first")

    def lag() -> Finding:
        found = subject.state().lag
        measured = "not known" if found is None else f"{found:.1f} s"
        good = found is not None and found <= max_lag
        return Finding("lag", measured, f"{max_lag:.0f} s at most", good, "let sync catch up")

    def suspects() -> Finding:
        count = subject.state().suspects
        way_out = "let sync run until the requests of the dead worker can no longer land"
        return Finding("suspects", f"{count} items", "none", not count, way_out)

    def quarantine() -> Finding:
        count = subject.state().quarantined
        way_out = "correct the transform and retry them, or waive each with a reason"
        return Finding("quarantine", f"{count} items", "none without a waiver", not count, way_out)

    def verified() -> Finding:
        good = subject.verified
        measured = "clean, less than 1 h ago" if good else "not clean, or 1 h ago and more"
        return Finding("verification", measured, "clean, 1 h old at most", good, "verify, repair")

    def skew() -> Finding:
        seconds = abs(wall() - ours())
        way_out = "set this machine's clock"
        good = seconds <= max_skew
        return Finding("clock skew", f"{seconds:.0f} s", f"{max_skew:.0f} s", good, way_out)

    def way_back() -> Finding:
        reason = subject.state().one_way
        good = not reason or accept_one_way
        measured = f"none, {reason}" if reason else "there is one"
        way_out = "write the transform's `down`, or accept it (accept_one_way)"
        return Finding("way back", measured, "one, or accepted", good, way_out)

    return [phase, lag, suspects, quarantine, verified, skew, way_back]
