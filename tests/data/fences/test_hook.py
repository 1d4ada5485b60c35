"""Fencing by the team's own commands."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fearless.data.fences import Fence, Several
from fearless.data.fences.hook import Commands, HookFence
from fearless.errors import ConfigError, FearlessError
from tests.data.fences.given import Clock, Notes

SWITCH = """
import os, pathlib, sys
flag = pathlib.Path(sys.argv[2])
print(sys.argv[1], os.environ.get("FEARLESS_FENCE_ATTEMPT"),
      repr(os.environ.get("FEARLESS_FENCE_SECONDS")))
if sys.argv[1] == "fence":
    flag.write_text("x")
if sys.argv[1] == "unfence":
    flag.unlink(missing_ok=True)
if sys.argv[1] == "check":
    sys.exit(0 if flag.exists() else 1)
"""


def command(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", *words)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    flag = str(tmp_path / "flag")
    return Commands(*(command(SWITCH, verb, flag) for verb in ("fence", "unfence", "check")))


def hook(commands: Commands, report: Any, notes: Notes | None = None, **more: Any) -> HookFence:
    clock = Clock()
    return HookFence(
        commands, report, notes or Notes(), "source", clock=clock, sleep=clock.sleep, **more
    )


def test_a_switch(commands: Commands, report: Any) -> None:
    notes = Notes()
    made: Fence = hook(commands, report, notes)
    assert not made.timed
    assert not made.fenced()
    made.fence(2, 75.5)
    assert made.fenced()
    assert "said 3 times that nothing can write" in made.confirm(report)
    made.fence(2, None)
    said = len(report.lines)
    made.fence(2, 75.5)
    made.fence(1, None)
    made.unfence(1)
    assert len(report.lines) == said
    assert made.fenced()
    made.unfence(2)
    assert not made.fenced()
    shown = [line.partition(": ")[2] for line in report.lines]
    assert shown[1] == "fence 2 '75'"
    assert "fence 2 ''" in shown


def test_a_fence_that_does_not_hold(commands: Commands, report: Any) -> None:
    with pytest.raises(FearlessError, match="still says that the application can write"):
        hook(commands, report, seconds=30.0).confirm(report)


def test_failures_are_errors_and_their_output_is_shown(report: Any) -> None:
    bad = command("print('the database is on fire'); raise SystemExit(3)")
    made = hook(Commands(bad, bad, bad), report)
    for action in (lambda: made.fence(1, 75), lambda: made.unfence(1)):
        with pytest.raises(FearlessError, match="exited with 3; its output is above"):
            action()
    with pytest.raises(FearlessError, match="exited with 3, not 0 or 1"):
        made.fenced()
    assert report.lines == [f"{sys.executable}: the database is on fire"] * 3
    made = hook(Commands(("/no/such",), bad, bad), report)
    with pytest.raises(FearlessError, match="cannot be run"):
        made.fence(1, 75)


def test_one_that_hangs_is_killed_with_what_it_started(report: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(mark)!r}).touch()"
    script = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); "
        "print('begun', flush=True); time.sleep(60)"
    )
    began = time.monotonic()
    with pytest.raises(FearlessError, match="took longer than 1 s"):
        hook(Commands(command(script), ("x",), ("x",)), report, timeout=1.0).fence(1, None)
    assert time.monotonic() - began < 10
    time.sleep(1.5)
    assert not mark.exists()


@pytest.mark.parametrize("wrong", ["rm -rf", (), ("a", 1)])
def test_commands_are_lists(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="command `fence` must be a list of strings"):
        Commands(wrong, ("x",), ("x",))


class Recorded:
    def __init__(self, name: str, log: list[str], timed: bool) -> None:
        self.name, self.log, self.timed = name, log, timed

    def fence(self, attempt: int, seconds: float | None) -> None:
        self.log.append(f"fence {self.name} {attempt} {seconds}")

    def unfence(self, attempt: int) -> None:
        self.log.append(f"unfence {self.name} {attempt}")

    def confirm(self, report: Any) -> str:
        return self.name

    def fenced(self) -> bool:
        return self.name == "b"


def test_several_as_one(report: Any) -> None:
    log: list[str] = []
    made: Fence = Several([Recorded("a", log, True), Recorded("b", log, False)])
    assert not made.timed
    assert Several([Recorded("a", log, True)]).timed
    made.fence(1, 75)
    made.unfence(1)
    assert log == ["fence a 1 75", "fence b 1 75", "unfence b 1", "unfence a 1"]
    assert made.confirm(report) == "a; b"
    assert made.fenced()
