"""Progress: one line in 5 s where there is no terminal."""

from __future__ import annotations

import io
import itertools
import threading

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


def test_things_that_go_on_at_once_are_all_shown() -> None:
    out, clock = io.StringIO(), Clock()
    lines = Lines(out, clock)
    for tenth in range(130):
        clock.now = tenth / 10
        for table in ("orders", "stores", "carts"):
            lines.progress(f"copy {table}", tenth * 100, 13_000)
    shown = [line.split()[1] for line in out.getvalue().splitlines()]
    assert shown == ["orders", "stores", "carts"] * 3
    assert "1,000/s" in out.getvalue()


def test_what_begins_again_is_timed_again() -> None:
    out, clock = io.StringIO(), Clock()
    lines = Lines(out, clock)
    lines.progress("wait", 5)
    clock.now = 100
    lines.progress("wait", 0)
    assert out.getvalue() == ""


def test_many_threads_may_report() -> None:
    out = io.StringIO()
    for report in (Lines(out), Bars(out)):

        def work(label: str, report: Lines | Bars = report) -> None:
            for number in range(300):
                report.progress(label, number, 300)
                report.line(f"{label} {number}")

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    lines = [line for line in out.getvalue().split("\n") if "\r" not in line and "[" not in line]
    assert all(line == "" or len(line.split()) == 2 for line in lines)


def test_a_bar_shows_one_thing_after_the_other() -> None:
    out, clock = io.StringIO(), Clock()
    bars = Bars(out, clock)
    for tenth in range(1, 61):
        clock.now = tenth / 10
        for table in ("orders", "stores", "carts"):
            bars.progress(table, tenth, 60)
    drawn = [text.split()[0] for text in out.getvalue().split("\r") if text.strip()]
    turns = [table for table, _ in itertools.groupby(drawn)]
    assert turns[:6] == ["orders", "stores", "carts"] * 2
    assert all(drawn.count(table) > 10 for table in turns)


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
