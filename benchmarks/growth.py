"""How time and memory grow with the table: copy, follow and verify of 10,000 to 1,000,000 items.

Linear time and flat memory are what one wants to see: the cost per item and the peak stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.figures import median, parser, show
from benchmarks.harness import emulator
from benchmarks.runs import Run, check, on_stub

STEPS = ("copy", "follow", "verify")
LIMIT = 300e6


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    made.add_argument("--rounds", type=int, default=1, help="rounds for each size")
    made.add_argument("--threads", type=int, default=4, help="requests at once")
    made.add_argument("--processes", type=int, default=0, help="worker processes; 0: none")
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = options(arguments)
    sizes, rounds = ([100, 300], 1) if asked.quick else (asked.sizes, asked.rounds)
    rows: list[dict[str, Any]] = []
    with emulator() as found:
        for size in sizes:
            runs = []
            for _ in range(rounds):
                run = on_stub(
                    found,
                    "ours",
                    size,
                    STEPS,
                    threads=asked.threads,
                    processes=asked.processes,
                )
                check(run, "written", size)
                check(run, "read", 3 * size)
                runs.append(run)
            rows.append(_row(size, runs))
    first, last = rows[0], rows[-1]
    facts = {
        "ratio": {
            "items": last["items"] / first["items"],
            "copy CPU": last["copy s CPU"] / first["copy s CPU"],
            "verify CPU": last["verify s CPU"] / first["verify s CPU"],
            "peak": last["peak MB"] / first["peak MB"],
        },
        "limit MB": LIMIT / 1e6,
    }
    show("growth", rows, facts, asked.json)


def _row(size: int, runs: Sequence[Run]) -> dict[str, Any]:
    def of(step: str, what: str) -> float:
        return median([run.costs[step][what] for run in runs])

    return {
        "items": size,
        "copy s": of("copy", "wall"),
        "copy s CPU": of("copy", "cpu"),
        "copy us/item": of("copy", "cpu") / size * 1e6,
        "verify s": of("verify", "wall"),
        "verify s CPU": of("verify", "cpu"),
        "verify us/item": of("verify", "cpu") / size * 1e6,
        "peak MB": of("verify", "peak") / 1e6,
        "server busy": median([run.busy for run in runs]),
    }


if __name__ == "__main__":
    main()
