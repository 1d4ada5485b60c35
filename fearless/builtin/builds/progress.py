"""How far an engine's build is: its steps, what came from the cache, and why it failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from fearless.dockerfile import Instruction
from fearless.errors import FearlessError
from fearless.interfaces import Report

TAIL = 40
"""Lines of a failing step that are shown before the error."""

_LONGEST = 120


class BuildFailed(FearlessError):
    """The container did not build; the message names the line, what it said, and the log."""


class EngineLost(BuildFailed):
    """The engine ended the build for no reason of its own: it may well succeed another time."""


@dataclass
class Step:
    """A step as the engine counts them; `instruction` is None for what no line asks for.

    `counts` is false for what is no work, and so never from the cache: starting from a base image.
    """

    title: str
    instruction: Instruction | None
    counts: bool = True
    cached: bool = False
    said: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))


class Progress:
    """What is known of a build so far. `log` gets everything, `report` how far it is."""

    def __init__(self, name: str, path: Path, log: TextIO, report: Report) -> None:
        self.name = name
        self.path = path
        self.log = log
        self.report = report
        self.steps: dict[Hashable, Step] = {}

    def write(self, text: str) -> None:
        """Keep what the engine said, as it came."""
        self.log.write(text if text.endswith("\n") else f"{text}\n")
        self.log.flush()

    def begin(
        self,
        key: Hashable,
        title: str,
        instruction: Instruction | None,
        number: int,
        total: int | None,
    ) -> Step:
        """A step begins, or is heard of again."""
        counts = instruction is None or instruction.keyword != "FROM"
        step = self.steps.setdefault(key, Step(title, instruction, counts))
        self.report.progress("docker build", number, total, title)
        return step

    def failure(self, what: str, step: Step | None) -> BuildFailed:
        """The error for a build that failed in that step, after showing its last lines."""
        for line in step.said if step else ():
            self.report.line(f"| {line}")
        where = self.name
        if step is not None and step.instruction is not None:
            where = f"{self.name}:{step.instruction.line}: `{_short(str(step.instruction))}`"
        said = f": {_short(step.said[-1])}" if step and step.said else ""
        return BuildFailed(f"{where} failed with {one_line(what)}{said} (log: {self.path})")

    def interrupted(self, what: str, kind: type[BuildFailed] = BuildFailed) -> BuildFailed:
        """The error for a build that ended from outside, naming what it was at."""
        during = ""
        if self.steps:
            step = list(self.steps.values())[-1]
            line = f":{step.instruction.line}" if step.instruction else ""
            during = f" at {self.name}{line}: `{_short(step.title)}`"
        return kind(f"{one_line(what)}{during} (log: {self.path})")

    def lost(self, why: str) -> BuildFailed:
        """The error for an engine that went away."""
        return self.interrupted(
            f"the Docker engine broke off ({why or 'without a word'}); once it runs again, the "
            "same command goes on. It was",
            EngineLost,
        )

    def late(self, seconds: int) -> BuildFailed:
        """The error for a build that was ended after its time."""
        return self.interrupted(
            f"the build took longer than {seconds} s; raise `[container] timeout`. It was"
        )

    def summary(self, origin: str) -> str:
        """`cache: 11/14 steps, from <origin>`."""
        counted = [step for step in self.steps.values() if step.counts]
        hits = sum(step.cached for step in counted)
        return f"cache: {hits}/{len(counted)} steps" + (f", from {origin}" if hits else "")


def one_line(text: object) -> str:
    """Text as a part of a one-line message."""
    return " ".join(str(text).split())


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
