"""Records of a stream applied per second of CPU: per-key order, differences, checkpoints.

Against it a loop with boto3 as people write it: read records, put the new images in batches.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.figures import median, parser, show, spread
from benchmarks.harness import emulator
from benchmarks.runs import Run, check, on_stub

OURS = "Fearless"
BASE = "boto3 loop"
COST = "CPU us/record"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--records", type=int, default=50_000, help="changes in the shard")
    made.add_argument("--rounds", type=int, default=3, help="rounds, interleaved")
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = options(arguments)
    records, rounds = (300, 1) if asked.quick else (asked.records, asked.rounds)
    runs: dict[str, list[Run]] = {OURS: [], BASE: []}
    with emulator() as found:
        for _ in range(rounds):
            ours = on_stub(found, "ours", 10, ("copy", "follow"), records)
            check(ours, "written", records + 10)
            runs[OURS].append(ours)
            base = on_stub(found, "plain_boto3", 10, ("follow",), records)
            check(base, "written", records)
            runs[BASE].append(base)
    rows = [_row(name, done, records) for name, done in runs.items()]
    show("stream", rows, {"ratio": rows[1][COST] / rows[0][COST]}, asked.json)


def _row(name: str, runs: Sequence[Run], records: int) -> dict[str, Any]:
    cpu = [run.cpu("follow", records) for run in runs]
    return {
        "contender": name,
        "records": records,
        **spread(COST, cpu),
        "records/s/core": 1e6 / median(cpu),
        "records/s": median([records / run.costs["follow"]["wall"] for run in runs]),
        "server busy": median([run.busy for run in runs]),
    }


if __name__ == "__main__":
    main()
