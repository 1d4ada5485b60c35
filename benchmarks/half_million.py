"""Half a million items on the emulator, from an empty target to the proof that all are there.

"Copies 500,000 objects in under ten minutes" is what the idea of Fearless promised.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from benchmarks.figures import parser, show
from benchmarks.harness import Tables, contend, emulator

STEPS = ("copy", "follow", "verify")
PROMISE = 600.0


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--items", type=int, default=500_000, help="items in the source table")
    made.add_argument("--threads", type=int, default=4, help="requests at once in each process")
    made.add_argument("--processes", type=int, default=1, help="worker processes; 0: none")
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = options(arguments)
    items = 300 if asked.quick else asked.items
    with emulator() as found, emulator() as other:
        tables = Tables(found)
        target = tables.create("target")
        state = Tables(other).create("state", ("pk", "sk"), stream=False)
        began = time.perf_counter()
        source = tables.filled(items)
        filling = time.perf_counter() - began
        order = {
            "url": found.url,
            "source": source,
            "target": target,
            "state_url": other.url,
            "state": state,
            "threads": asked.threads,
            "processes": 0 if asked.quick else asked.processes,
            "steps": STEPS,
            "rename": True,
        }
        costs = contend("ours", order, timeout=3600.0)
        written = tables.count(target)
    if written != items:
        raise SystemExit(f"{written} of {items} items were copied")
    rows = [
        {
            "step": step,
            "s": costs[step]["wall"],
            "s CPU": costs[step]["cpu"],
            "items/s": items / costs[step]["wall"],
            "peak MB": costs[step]["peak"] / 1e6,
        }
        for step in STEPS
    ]
    whole = sum(row["s"] for row in rows)
    facts = {
        "items": items,
        "filling the source, s": filling,
        "whole, s": whole,
        "ratio": {"promised 600 s / copy": PROMISE / rows[0]["s"], "/ whole": PROMISE / whole},
    }
    show("half_million", rows, facts, asked.json)


if __name__ == "__main__":
    main()
