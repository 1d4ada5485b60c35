"""Progress: live bars on a terminal, one line in 5 s elsewhere, objects for programs."""

from __future__ import annotations

import io
import json
import re
import threading
import time

from rich.console import Console

from fearless.progress import Bars, JsonLines, Lines, describe, report


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def bars(width: int = 100) -> tuple[Terminal, Clock, Bars]:
    out, clock = Terminal(), Clock()
    console = Console(file=out, force_terminal=True, width=width, height=24, highlight=False)
    return out, clock, Bars(out, clock, console)


def plain(text: str) -> str:
    """What was drawn, without the movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


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


def test_a_resumed_copy_shows_the_rate_of_now() -> None:
    out, clock = io.StringIO(), Clock()
    lines = Lines(out, clock)
    for second in range(3):
        clock.now = second
        lines.progress("copy", 400_000 + 50 * second, 500_000)
    assert "  50/s  33 min 18 s left" in out.getvalue()


def test_many_threads_may_report() -> None:
    out = io.StringIO()
    for shown in (Lines(out), Bars(out), JsonLines(out)):

        def work(label: str, shown: Lines | Bars | JsonLines = shown) -> None:
            for number in range(300):
                shown.progress(label, number, 300)
                shown.line(f"{label} {number}")

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        shown.clear()
    whole = re.findall(r"^    t\d \d+$|^\{.*\}$", out.getvalue(), re.M)
    assert len(whole) == 3 * 4 * 300


def test_bars_for_everything_that_goes_on() -> None:
    out, clock, shown = bars()
    for tenth in range(1, 31):
        clock.now = tenth / 10
        for table in ("orders", "stores"):
            shown.progress(f"copy {table}", tenth * 100, 6000, "1.5 MB/s")
    frames = plain(out.getvalue()).split("\r")
    last = [line for line in frames[-1].splitlines() if line.strip()]
    assert [line.split()[1] for line in last] == ["orders", "stores"]
    assert "━  3,000/6,000  1,000/s  3 s left  1.5 MB/s" in last[0]
    assert "2,900/6,000" in last[1]


def test_bars_fit_the_terminal_and_take_brackets_as_they_are() -> None:
    out, clock, shown = bars(width=60)
    clock.now = 1
    shown.progress("stack [red]", 3, None, "[bold]a very long note " * 10)
    lines = plain(out.getvalue()).splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert "stack [red]" in out.getvalue()
    assert "[bold]a very" in out.getvalue()


def test_bars_are_cleared_before_a_line_and_come_back() -> None:
    out, clock, shown = bars()
    clock.now = 1
    shown.progress("copy", 1, 2)
    shown.line("note")
    assert out.getvalue().endswith("\x1b[2K    note\n")
    shown.progress("copy", 2, 2)
    assert plain(out.getvalue()).rstrip().endswith("2/2")
    shown.clear()
    shown.clear()


def test_a_bar_nobody_talks_of_goes() -> None:
    out, clock, shown = bars()
    clock.now = 1
    shown.progress("copy", 1, 2)
    clock.now = 20
    shown.progress("verify", 1, 2)
    assert "copy" not in out.getvalue().rpartition("verify")[0].rpartition("\x1b[2K")[2]


def test_the_cursor_is_never_left_hidden() -> None:
    out, clock, shown = bars()
    clock.now = 1
    shown.progress("copy", 1, 2)
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")


def test_json_lines() -> None:
    out, clock = io.StringIO(), Clock()
    lines = JsonLines(out, clock, lambda: {"tables": {"orders": {"lag": 0.5}}})
    lines.line("waiting")
    for second in range(8):
        clock.now = second
        lines.progress("copy orders", second * 10, 100, "1 kB/s")
    line, first, second = (json.loads(text) for text in out.getvalue().splitlines())
    assert line == {"event": "line", "text": "waiting"}
    assert first["event"] == "progress"
    assert first["tables"] == {"orders": {"lag": 0.5}}
    assert (second["done"], second["total"]) == (70, 100)
    assert (second["rate"], second["eta"], second["note"]) == (10, 3, "1 kB/s")


def test_no_ansi_where_there_is_no_terminal(monkeypatch) -> None:
    assert isinstance(report(io.StringIO()), Lines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(report(Terminal()), Lines)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(report(Terminal()), Bars)


def test_it_is_cheap_enough_for_every_page() -> None:
    for shown in (Lines(io.StringIO()), JsonLines(io.StringIO()), bars()[2]):
        began = time.process_time()
        for page in range(10_000):
            shown.progress("copy", page, 10_000, "note")
        assert time.process_time() - began < 1


def test_description_without_a_total() -> None:
    assert describe("scan", 10, None, "lag 1 s", 1) == "scan  10  1/s  lag 1 s"
    assert describe("wait", 0, None, "") == "wait"
    assert describe("wait", 5, 10, "", 0.1, 0.4) == "wait  [##########..........] 5/10  1 s left"
