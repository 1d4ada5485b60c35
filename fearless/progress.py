"""How a long step says how far it is: live bars on a terminal, a line every 5 s elsewhere."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from fearless.data.metrics import Rate, duration
from fearless.interfaces import Report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

EVERY = 5.0
"""Seconds between two progress lines where there is no terminal."""

FIRST = 2.0
"""Seconds a step may take before its progress is shown at all."""

FRAME = 0.1
"""Seconds between two drawings of the bars."""

HOLD = 5.0
"""Seconds a bar is shown for after it was last heard of."""

Facts = Callable[[], Mapping[str, Any]]
"""More about the state of things, for programs; asked for once for each line of progress."""


class Clearable(Report, Protocol):
    """A report on which something else can be printed in between."""

    def clear(self) -> None:
        """Take away what would be drawn over."""


def report(stream: TextIO | None = None) -> Clearable:
    """The report that suits `stream` (stderr by default)."""
    stream = stream or sys.stderr
    live = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    return Bars(stream) if live else Lines(stream)


@dataclass
class _Known:
    """What is remembered of a label: times by the clock, and how far it is."""

    next: float
    done: int = 0
    total: int | None = None
    note: str = ""
    heard: float = 0.0
    rate: Rate = field(default_factory=Rate)


class _Heard:
    """The labels that progress was reported of. Several threads may report, each its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._known: dict[str, _Known] = {}

    def _hear(self, label: str, done: int, total: int | None, note: str, now: float) -> _Known:
        """The label's state; a new one when it is new, or when it has begun again."""
        known = self._known.get(label)
        if known is None or done < known.done:
            known = self._known[label] = _Known(now + FIRST)
        known.done, known.total, known.note, known.heard = done, total, note, now
        known.rate.see(now, done)
        return known

    def _due(self, label: str, done: int, total: int | None, note: str) -> _Known | None:
        """The label's state if it is time for a line about it."""
        now = self.clock()
        known = self._hear(label, done, total, note, now)
        if now < known.next:
            return None
        known.next = now + EVERY
        return known


class Lines(_Heard):
    """For logs: every line as it comes; of each label a first line after 2 s, then one in 5 s."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.stream = stream

    def line(self, text: str) -> None:
        """Write the line."""
        with self._lock:
            self.stream.write(f"    {text}\n")
            self.stream.flush()

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Write a progress line if it is time for one."""
        with self._lock:
            known = self._due(label, done, total, note)
            if known is not None:
                rate, left = _speed(known, self.clock())
                self.line(describe(label, done, total, note, rate, left))

    def clear(self) -> None:
        """Nothing: lines stay."""


class JsonLines(_Heard):
    """For programs: one JSON object a line, `{"event": "line" | "progress", ...}`.

    `facts` are added to each progress event.
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        facts: Facts = dict,
    ) -> None:
        super().__init__(clock)
        self.stream = stream
        self.facts = facts

    def line(self, text: str) -> None:
        """Write the line."""
        self.event("line", text=text)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Write how far it is, if it is time to."""
        with self._lock:
            known = self._due(label, done, total, note)
            if known is None:
                return
            rate, left = _speed(known, self.clock())
        speed = {"rate": _short(rate), "eta": _short(left), "note": note}
        self.event("progress", label=label, done=done, total=total, **speed, **self.facts())

    def event(self, kind: str, /, **values: Any) -> None:
        """Write an object of any kind."""
        text = json.dumps({"event": kind, **values}, default=str)
        with self._lock:
            self.stream.write(text + "\n")
            self.stream.flush()

    def clear(self) -> None:
        """Nothing: lines stay."""


class Bars(_Heard):
    """For people: a bar for each thing that goes on, drawn ten times a second at most."""

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        super().__init__(clock)
        self.stream = stream
        self._console = console
        self._live: Live | None = None
        self._drawn = float("-inf")

    def line(self, text: str) -> None:
        """Write the line; the bars come back below it."""
        with self._lock:
            self.clear()
            self.stream.write(f"    {text}\n")
            self.stream.flush()

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Draw the bars again, if it is time to."""
        with self._lock:
            now = self.clock()
            self._hear(label, done, total, note, now)
            if now - self._drawn < FRAME:
                return
            self._drawn = now
            old = [name for name, known in self._known.items() if now - known.heard > HOLD]
            for name in old:
                del self._known[name]
            self._draw(now)

    def clear(self) -> None:
        """Remove the bars, so that something else can be printed."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None
                self._drawn = float("-inf")

    def _draw(self, now: float) -> None:
        from rich.console import Console
        from rich.live import Live

        if self._console is None:
            self._console = Console(file=self.stream, highlight=False)
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
            self._console.show_cursor(True)
        self._live.update(self._table(now), refresh=True)

    def _table(self, now: float) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table
        from rich.text import Text

        label = Column(no_wrap=True, overflow="ellipsis")
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        grid = Table.grid(label, Column(min_width=20), rest, padding=(0, 2, 0, 0), expand=True)
        for name, known in self._known.items():
            done, total = known.done, known.total
            bar = ProgressBar(total, min(done, total), 20) if total else ""
            text = "  ".join(_figures(done, total, known.note, *_speed(known, now)))
            grid.add_row(Text(f"    {name}"), bar, Text(text))
        return grid


def describe(
    label: str,
    done: int,
    total: int | None,
    note: str,
    rate: float | None = None,
    left: float | None = None,
) -> str:
    """`copy orders  [#####.....] 4,000/8,000  2,150/s  2 s left  note`."""
    figures = list(_figures(done, total, note, rate, left))
    if total:
        full = min(20, 20 * done // total)
        figures[0] = f"[{'#' * full}{'.' * (20 - full)}] {figures[0]}"
    return "  ".join([label, *figures])


def _figures(
    done: int, total: int | None, note: str, rate: float | None, left: float | None
) -> Iterator[str]:
    if total:
        yield f"{done:,}/{total:,}"
    elif done:
        yield f"{done:,}"
    if rate is not None and rate >= 1:
        yield f"{rate:,.0f}/s"
    if left is not None and left > 0:
        yield f"{duration(left) if left >= 60 else f'{max(left, 1):.0f} s'} left"
    if note:
        yield note


def _speed(known: _Known, now: float) -> tuple[float | None, float | None]:
    return known.rate.per_second(now), known.rate.left(now, known.total)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
