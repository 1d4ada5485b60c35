"""How a long step says how far it is: a live bar on a terminal, a line every 5 s elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
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


HOLD = 1.0
"""Seconds a bar shows one thing before it may show another that is going on as well."""


class Lines:
    """For logs: every line as it comes; of each label a first line after 2 s, then one in 5 s.

    Several threads may report, each under a label of its own.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock
        self._lock = threading.RLock()
        self._known: dict[str, _Known] = {}

    def line(self, text: str) -> None:
        """Write the line."""
        with self._lock:
            print(f"    {text}", file=self.stream, flush=True)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Write a progress line if it is time for one."""
        with self._lock:
            now = self.clock()
            known = _heard(self._known, label, done, now)
            if now >= known.next:
                known.next = now + EVERY
                self.line(describe(label, done, total, note, now - known.began))


class Bars:
    """For people: one line that is drawn over, ten times a second at most.

    Of several things that go on at once it shows one after the other, a second each.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock
        self._lock = threading.RLock()
        self._known: dict[str, _Known] = {}
        self._shown = ""
        self._since = 0.0
        self._drawn = 0.0
        self._width = 0

    def line(self, text: str) -> None:
        """Write the line above the bar."""
        with self._lock:
            self.clear()
            print(f"    {text}", file=self.stream, flush=True)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Draw the bar again."""
        with self._lock:
            now = self.clock()
            known = _heard(self._known, label, done, now)
            if now - self._drawn < 0.1 or not self._turn(label, now):
                return
            self._drawn = known.shown = now
            text = "    " + describe(label, done, total, note, now - known.began)
            self.stream.write("\r" + text.ljust(self._width)[:118])
            self.stream.flush()
            self._width = len(text)

    def clear(self) -> None:
        """Remove the bar, so that something else can be printed."""
        with self._lock:
            if self._width:
                self.stream.write("\r" + " " * min(self._width, 118) + "\r")
                self.stream.flush()
                self._width = 0

    def _turn(self, label: str, now: float) -> bool:
        """Whether the bar may show this label now: whose turn is longest ago comes next."""
        if self._shown and now - self._since < HOLD:
            return label == self._shown
        going = {name: known for name, known in self._known.items() if now - known.heard < HOLD}
        if label != min(going, key=lambda name: going[name].shown):
            return False
        self._shown, self._since = label, now
        return True


@dataclass
class _Known:
    """What is remembered of a label: times by the clock, and how far it was."""

    began: float
    next: float
    done: int = 0
    heard: float = 0.0
    shown: float = 0.0


def _heard(known: dict[str, _Known], label: str, done: int, now: float) -> _Known:
    """The label's state; a new one when it is new, or when it has begun again."""
    if label not in known or done < known[label].done:
        known[label] = _Known(now, now + FIRST)
    known[label].done, known[label].heard = done, now
    return known[label]


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
