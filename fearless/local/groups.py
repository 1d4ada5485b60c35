"""What to do about an auto-scaling group: a pure plan from what is wanted and what runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_PAUSE = 30.0
"""Seconds between launches of a group whose instances keep failing."""


@dataclass(frozen=True)
class Member:
    """An instance that is neither dead nor draining. `image` is the reference it runs."""

    id: str
    image: str
    healthy: bool


@dataclass(frozen=True)
class Plan:
    """`launch` so many instances, drain and stop those of `retire`."""

    launch: int = 0
    retire: tuple[str, ...] = ()


def plan(desired: int, image: str | None, members: Sequence[Member]) -> Plan:
    """How to get to `desired` members that run `image` (None: whatever they run is right).

    `members` are oldest first. Members with another image that serve are replaced one by one:
    a new one first, then an old one less for each new one that is healthy. Those that do not
    serve anyway go at once. Scaling in takes unhealthy members first, then the oldest.
    """
    current = [m for m in members if image is None or m.image == image]
    outdated = [m for m in members if m not in current]
    serving = [m for m in outdated if m.healthy]
    retire = [m.id for m in outdated if not m.healthy]
    healthy = sum(1 for m in current if m.healthy)
    needed = max(0, desired - healthy)
    retire += [m.id for m in serving[: max(0, len(serving) - needed)]]
    kept = min(len(serving), needed)
    room = desired - len(current)
    launch = min(room, 1 + desired - len(current) - kept) if kept else room
    surplus = sorted(current, key=lambda m: m.healthy)[: max(0, -room)]
    return Plan(max(0, launch), (*retire, *(m.id for m in surplus)))


def pause(failures: int) -> float:
    """Seconds to wait before the next launch after so many failures in a row."""
    return min(LONGEST_PAUSE, 0.5 * 2 ** (failures - 1)) if failures else 0.0
