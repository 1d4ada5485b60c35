"""How a long step says how far it is: a live bar on a terminal, a line every 5 s elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from fearless.interfaces import Report

EVERY = 5.0
"""Seconds between two progress lines where there is no terminal."""

FIRST = 2.0
"""Seconds a step may take before its progress is shown at all."""


def report(stream: TextIO | None = None) -> Report:
    """The report that suits `stream` (stderr by default)."""
    stream = stream or sys.stderr
    return Bars(stream) if stream.isatty() else Lines(stream)


class Lines:
    """For logs: every line as it comes, progress once in 5 s."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock
        self._label = ""
        self._began = 0.0
        self._next = 0.0

    def line(self, text: str) -> None:
        """Write the line."""
        print(f"    {text}", file=self.stream, flush=True)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Write a progress line if it is time for one."""
        now = self.clock()
        if label != self._label:
            self._label, self._began, self._next = label, now, now + FIRST
        if now >= self._next:
            self._next = now + EVERY
            self.line(describe(label, done, total, note, now - self._began))


class Bars:
    """For people: one line that is drawn over, ten times a second at most."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock
        self._label = ""
        self._began = 0.0
        self._drawn = 0.0
        self._width = 0

    def line(self, text: str) -> None:
        """Write the line above the bar."""
        self.clear()
        print(f"    {text}", file=self.stream, flush=True)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Draw the bar again."""
        now = self.clock()
        if label != self._label:
            self._label, self._began = label, now
        if now - self._drawn < 0.1:
            return
        self._drawn = now
        text = "    " + describe(label, done, total, note, now - self._began)
        self.stream.write("\r" + text.ljust(self._width)[:118])
        self.stream.flush()
        self._width = len(text)

    def clear(self) -> None:
        """Remove the bar, so that something else can be printed."""
        if self._width:
            self.stream.write("\r" + " " * min(self._width, 118) + "\r")
            self.stream.flush()
            self._width = 0


def describe(label: str, done: int, total: int | None, note: str, seconds: float) -> str:
    """`copy orders  [#####.....] 4,000/8,000  2,150/s  2 s left  note`."""
    rate = done / seconds if seconds > 0.5 else 0.0
    parts = [label]
    if total:
        full = min(20, 20 * done // total)
        parts.append(f"[{'#' * full}{'.' * (20 - full)}] {done:,}/{total:,}")
    elif done:
        parts.append(f"{done:,}")
    if rate >= 1:
        parts.append(f"{rate:,.0f}/s")
        if total and total > done:
            parts.append(f"{(total - done) / rate:,.0f} s left")
    if note:
        parts.append(note)
    return "  ".join(parts)
