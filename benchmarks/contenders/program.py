"""The frame around a contender: its orders on the command line, its cost on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.meter import Meter

Steps = Mapping[str, Callable[[], None]]


@dataclass(frozen=True)
class Order:
    """What to do between `source` and `target` at `url`, and how much of it at once.

    `steps` are `copy`, `follow` and `verify`, one after the other. `processes` is 0 for a
    contender's own process alone. `directory` may be filled with files. `stream` is what follows
    the source, and `records` how many changes there are to apply.
    """

    url: str
    source: str
    target: str
    state_url: str = ""
    state: str = ""
    stream: str = ""
    records: int = 0
    threads: int = 4
    processes: int = 0
    rename: bool = False
    steps: tuple[str, ...] = ("copy",)
    directory: str = ""


def run(prepare: Callable[[Order], Steps]) -> None:
    """Do what the command line says; the cost of each step, without importing and preparing."""
    values = json.loads(sys.argv[1])
    order = Order(**{**values, "steps": tuple(values.get("steps", ("copy",)))})
    steps = prepare(order)
    costs: dict[str, Any] = {}
    for name in order.steps:
        meter = Meter()
        steps[name]()
        costs[name] = meter.stop().to_dict()
    sys.stdout.write("\n" + json.dumps(costs) + "\n")
