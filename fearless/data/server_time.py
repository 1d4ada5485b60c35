"""What the service's clock shows, which machines with clocks of their own can agree on."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from fearless.owner import boottime


class ServerTime:
    """Estimated from the Date headers of answers; this machine's time before the first one.

    The estimate is late rather than early: by a second and a round trip at most, less as more
    answers come. `ticks` runs on while the machine sleeps.
    """

    def __init__(
        self, ticks: Callable[[], float] = boottime, wall: Callable[[], float] = time.time
    ) -> None:
        self._ticks = ticks
        self._wall = wall
        self._last = ("", 0.0)
        self._offset: float | None = None

    def hear(self, date: str | None, sent: float, received: float) -> None:
        """Learn from a Date header and when, by `ticks`, its request left and its answer came."""
        if not date:
            return
        text, stamp = self._last
        if text != date:
            try:
                stamp = parsedate_to_datetime(date).timestamp()
            except ValueError:
                return
            self._last = (date, stamp)
        latest, offset = stamp + 1.0 - sent, self._offset
        if offset is None or latest < offset or stamp - received > offset:
            self._offset = latest

    def now(self) -> float:
        """In Unix seconds."""
        offset = self._offset
        return self._wall() if offset is None else self._ticks() + offset
