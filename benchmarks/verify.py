"""CPU of the client for proving a copy equal: digests of both sides, bucket by bucket.

Against it the same done as people do it with boto3: read both tables, compare the dictionaries.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.figures import median, parser, show, spread
from benchmarks.harness import emulator
from benchmarks.items import item
from benchmarks.runs import Run, check, on_stub
from fearless.data.canonical import digest

OURS = "Fearless"
BASE = "boto3, dictionaries"
COST = "CPU us/item"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--items", type=int, default=50_000, help="items in either table")
    made.add_argument("--rounds", type=int, default=3, help="rounds, interleaved")
    made.add_argument("--threads", type=int, default=4, help="requests at once")
    return made.parse_args(arguments)


def digesting(rounds: int, count: int = 5_000) -> list[float]:
    """Microseconds for the digest of one item that is in memory, in each round."""
    items = [item(number) for number in range(count)]
    return [_timed(lambda: [digest(each) for each in items]) / count * 1e6 for _ in range(rounds)]


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = options(arguments)
    items, rounds = (300, 1) if asked.quick else (asked.items, asked.rounds)
    runs: dict[str, list[Run]] = {OURS: [], BASE: []}
    with emulator() as found:
        for _ in range(rounds):
            ours = on_stub(
                found, "ours", items, ("copy", "follow", "verify"), threads=asked.threads
            )
            check(ours, "read", 3 * items)
            runs[OURS].append(ours)
            base = on_stub(found, "plain_boto3", items, ("verify",), threads=asked.threads)
            check(base, "read", 2 * items)
            runs[BASE].append(base)
    rows = [_row(name, done, items) for name, done in runs.items()]
    facts: dict[str, Any] = {
        "ratio": rows[1][COST] / rows[0][COST],
        "digests alone, both sides, us/item": 2 * median(digesting(rounds)),
    }
    show("verify", rows, facts, asked.json)


def _row(name: str, runs: Sequence[Run], items: int) -> dict[str, Any]:
    cpu = [run.cpu("verify", items) for run in runs]
    return {
        "contender": name,
        "items": items,
        **spread(COST, cpu),
        "peak MB": median([run.costs["verify"]["peak"] for run in runs]) / 1e6,
        "server busy": median([run.busy for run in runs]),
    }


if __name__ == "__main__":
    main()
