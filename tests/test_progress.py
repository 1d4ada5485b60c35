"""Progress: one line in 5 s where there is no terminal."""

from __future__ import annotations

import io

from fearless.progress import Bars, Lines, describe


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_after_two_seconds_and_then_every_five() -> None:
    out, clock = io.StringIO(), Clock()
    lines = Lines(out, clock)
    for tenth in range(130):
        clock.now = tenth / 10
        lines.progress("copy", tenth * 100, 13_000)
    shown = out.getvalue().splitlines()
    assert len(shown) == 3
    assert shown[0].strip().startswith("copy  [###.................] 2,000/13,000  1,000/s  11 s")


def test_a_bar_is_cleared_before_a_line() -> None:
    out, clock = io.StringIO(), Clock()
    bars = Bars(out, clock)
    clock.now = 1
    bars.progress("copy", 1, 2)
    bars.line("note")
    assert out.getvalue().endswith("\r    note\n")


def test_description_without_a_total() -> None:
    assert describe("scan", 10, None, "lag 1 s", 10) == "scan  10  1/s  lag 1 s"
    assert describe("wait", 0, None, "", 1) == "wait"
