"""Items copied per second of CPU, by one worker process and by several, with every guarantee.

The servers are stubs in processes of their own that answer with canned pages and count what is
written. How busy the busiest one was is printed: well below 1, it was not what one waits for.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from benchmarks.figures import median, parser, show, spread
from benchmarks.harness import emulator
from benchmarks.runs import Run, check, on_stub

GOAL = 35_000.0
COST = "CPU us/item"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--items", type=int, default=200_000, help="items for each process")
    made.add_argument("--rounds", type=int, default=3, help="rounds, interleaved")
    made.add_argument("--threads", type=int, default=4, help="requests at once in each process")
    made.add_argument("--servers", type=int, default=1, help="stub servers on the port")
    made.add_argument(
        "--processes",
        type=int,
        nargs="+",
        default=sorted({0, 1, os.cpu_count() or 1}),
        help="how many worker processes; 0: the coordinator does the work itself",
    )
    made.add_argument("--transform", action="store_true", help="with the keep-key transform")
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = options(arguments)
    each, rounds = (400, 1) if asked.quick else (asked.items, asked.rounds)
    processes = [0] if asked.quick else asked.processes
    runs: dict[int, list[Run]] = {count: [] for count in processes}
    with emulator() as found:
        for _ in range(rounds):
            for count in processes:
                items = each * max(1, count)
                run = on_stub(
                    found,
                    "ours",
                    items,
                    servers=asked.servers,
                    threads=asked.threads,
                    processes=count,
                    rename=asked.transform,
                )
                check(run, "written", items)
                runs[count].append(run)
    rows = [_row(count, done, each * max(1, count)) for count, done in runs.items()]
    first = rows[0]["per core"]
    facts: dict[str, Any] = {
        "goal items/s/core": GOAL,
        "ratio": {str(row["processes"]): row["per core"] / first for row in rows},
    }
    show("cores", rows, facts, asked.json)


def _row(count: int, runs: Sequence[Run], items: int) -> dict[str, Any]:
    cpu = [run.cpu("copy", items) for run in runs]
    return {
        "processes": count,
        "items": items,
        **spread(COST, cpu),
        "per core": 1e6 / median(cpu),
        "items/s": median([items / run.costs["copy"]["wall"] for run in runs]),
        "peak MB": median([run.costs["copy"]["peak"] for run in runs]) / 1e6,
        "server busy": median([run.busy for run in runs]),
        "server us/item": median([run.server_cpu / items * 1e6 for run in runs]),
    }


if __name__ == "__main__":
    main()
