"""One contender's run against stub servers, with what the servers saw of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.harness import Tables, contend, stub, watching
from fearless.testing.emulator import Emulator


@dataclass(frozen=True)
class Run:
    """The cost of each step; what the servers served; how busy the busiest was, from 0 to 1."""

    costs: dict[str, dict[str, float]]
    served: dict[str, int]
    busy: float
    server_cpu: float

    def cpu(self, step: str, count: int) -> float:
        """Microseconds of CPU for each of `count`."""
        return self.costs[step]["cpu"] / count * 1e6


def on_stub(
    behind: Emulator,
    program: str,
    items: int,
    steps: tuple[str, ...] = ("copy",),
    records: int = 0,
    servers: int = 1,
    **more: Any,
) -> Run:
    """Run it over a table of `items` and a stream of `records`, both canned."""
    tables = Tables(behind)
    source, target = tables.create("source"), tables.create("target")
    state = tables.create("state", ("pk", "sk"), stream=False)
    with stub(behind, items, records, servers) as found:
        order = {
            "url": found.url,
            "source": source,
            "target": target,
            "state_url": behind.url,
            "state": state,
            "stream": tables.stream(source),
            "records": records,
            "steps": steps,
            **more,
        }
        with watching(found) as seen:
            costs = contend(program, order)
    tables.delete(source, target, state)
    return Run(costs, found.served, seen["busy"], seen["cpu"])


def check(run: Run, what: str, wanted: int) -> None:
    """Raise SystemExit when the servers did not serve `wanted` of `what`: nothing was skipped."""
    if run.served[what] != wanted:
        raise SystemExit(f"{run.served[what]} {what} instead of {wanted}: nothing was measured")
