"""How fast something grows and when it will be there, and numbers as people read them."""

from __future__ import annotations

from collections import deque

WINDOW = 15.0
"""Seconds that a rate looks back."""

SOON = 0.5
"""Seconds of looking on before there is a rate at all."""


class Rate:
    """The rate of a count, over the last `window` seconds of a clock that the caller reads.

    What was done before the first look is no part of it, so that work which goes on where it was
    stopped begins with no rate, not with a wild one. A count that falls has begun again.
    """

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._seen: deque[tuple[float, int]] = deque()
        self._last: tuple[float, int] | None = None

    def see(self, now: float, count: int) -> None:
        """Note the count at a moment; cheap, and keeps at most some 60 moments."""
        if self._last is not None and count < self._last[1]:
            self._seen.clear()
        self._last = (now, count)
        if not self._seen or now - self._seen[-1][0] >= self._window / 60:
            self._seen.append(self._last)
        while len(self._seen) > 1 and now - self._seen[1][0] >= self._window:
            self._seen.popleft()

    def per_second(self, now: float) -> float | None:
        """How many a second; falls towards 0 while nothing happens; None when not known yet."""
        if self._last is None or now - self._seen[0][0] < SOON:
            return None
        began, count = self._seen[0]
        return (self._last[1] - count) / (now - began)

    def left(self, now: float, total: int | None) -> float | None:
        """Seconds until `total` is reached at this rate; None when nobody can tell."""
        rate = self.per_second(now)
        if not rate or total is None or self._last is None or self._last[1] > total:
            return None
        return (total - self._last[1]) / rate


def amount(size: float) -> str:
    """Bytes: `512 B`, `1.5 kB`, `12 MB`; powers of 1000."""
    units = ["TB", "GB", "MB", "kB", "B"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop()
    unit = units[-1]
    digits = 1 if unit != "B" and size < 9.95 else 0
    return f"{size:,.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, big, small, unit in (
        (86400, "d", "h", 3600),
        (3600, "h", "min", 60),
        (60, "min", "s", 1),
    ):
        if whole >= size:
            rest = whole % size // unit
            return f"{whole // size:,} {big}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
