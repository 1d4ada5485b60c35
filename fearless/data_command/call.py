"""One call of `fearless data`: what was asked for, the run it is about, and where to say things."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from fearless import progress
from fearless.data_command.interrupts import Interrupts
from fearless.data_command.runs import Options, Run
from fearless.data_command.sides import Access


class Output:
    """Standard output: text, or one JSON object a line. Progress in text goes to stderr."""

    def __init__(self, as_json: bool, out: TextIO, err: TextIO) -> None:
        self._out = out
        self.events = progress.JsonLines(out) if as_json else None
        self.report: progress.Clearable = self.events or progress.report(err)

    def say(self, *lines: str) -> None:
        """For people."""
        if self.events is None:
            self.report.clear()
            for line in lines:
                self._out.write(line + "\n")
            self._out.flush()

    def result(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """The result of a command: the object for programs, the lines for people."""
        if self.events is not None:
            self.events.event("result", **document)
        else:
            self.say(*lines)


@dataclass(frozen=True)
class Call:
    """What an action gets."""

    args: argparse.Namespace
    run: Run
    out: Output
    interrupts: Interrupts

    def command(self, words: str) -> str:
        """Another `fearless data` command about the same tables, for people."""
        args = self.args
        given = [f"fearless data {words} {args.source} {args.target}"]
        if args.endpoint_url:
            given.append(f"--endpoint-url {args.endpoint_url}")
        return " ".join(given)


def options(args: argparse.Namespace) -> Options:
    """What the command line says; options that a command does not have keep their defaults."""
    given = vars(args)
    there, here = (
        Access(
            given[f"{side}_endpoint_url"] or args.endpoint_url,
            given[f"{side}_region"] or args.region,
            given[f"{side}_profile"] or args.profile,
        )
        for side in ("source", "target")
    )
    names = {"name": "table", "zombie": "zombie_seconds"}
    fields = (
        *("transforms", "name", "segments", "engine", "processes", "queue", "heartbeat"),
        *("max_rate", "state_table", "max_quarantine", "zombie", "again"),
    )
    values: dict[str, Any] = {
        field: given[names.get(field, field)]
        for field in fields
        if names.get(field, field) in given
    }
    return Options(args.source, args.target, there, here, **values)
