"""CPU of the client per item copied: Fearless with every guarantee, boto3 as people use it, peers.

Every round copies the same table with each contender into a new table on the same emulator, one
after the other; the medians of the rounds are compared. CPU is user and system time of the
contender's process, without its start and imports.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import median, parser, show, spread
from benchmarks.harness import Tables, contend, emulator
from benchmarks.peers import PROGRAMS, installed, versions

BASE = "boto3 copier"
OURS = "Fearless"
RENAME = ", transform"
COST = "CPU us/item"


@dataclass(frozen=True)
class Contestant:
    """A contender as it takes part: its program, with or without the transform, its Python."""

    name: str
    program: str
    rename: bool = False
    python: str = sys.executable


def contestants(peers: str) -> list[Contestant]:
    """All who take part; `peers` is the Python of the environment that holds the peers."""
    found = [
        Contestant(BASE, "plain_boto3"),
        Contestant(OURS, "ours"),
        Contestant(BASE + RENAME, "plain_boto3", rename=True),
        Contestant(OURS + RENAME, "ours", rename=True),
    ]
    if peers:
        found += [Contestant(name, module, python=peers) for name, module in PROGRAMS.items()]
    return found


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--items", type=int, default=50_000, help="items in the source table")
    made.add_argument("--rounds", type=int, default=3, help="rounds after the warm-up")
    made.add_argument("--threads", type=int, default=4, help="requests at once, for everybody")
    made.add_argument("--peers", default="", metavar="DIR", help="where peers are, or go; kept")
    made.add_argument("--no-peers", action="store_true", help="install none from PyPI")
    return made.parse_args(arguments)


def measure(asked: argparse.Namespace, peers: str) -> list[dict[str, Any]]:
    """A row for each contestant."""
    items, rounds = (300, 1) if asked.quick else (asked.items, asked.rounds)
    costs: dict[str, list[dict[str, float]]] = {}
    with emulator() as found:
        tables = Tables(found)
        source = tables.filled(items)
        for number in range(rounds + (not asked.quick)):
            for one in contestants(peers):
                cost = _copied(tables, one, source, items, asked.threads)
                if asked.quick or number:
                    costs.setdefault(one.name, []).append(cost)
    return [_row(name, costs, items) for name in costs]


def _copied(
    tables: Tables, one: Contestant, source: str, items: int, threads: int
) -> dict[str, float]:
    target, state = tables.create("target"), tables.create("state", ("pk", "sk"), stream=False)
    order = {
        "url": tables.emulator.url,
        "source": source,
        "target": target,
        "state_url": tables.emulator.url,
        "state": state,
        "threads": threads,
        "rename": one.rename,
    }
    cost: dict[str, float] = contend(one.program, order, one.python)["copy"]
    written = tables.count(target)
    tables.delete(target, state)
    if written != items:
        raise SystemExit(f"{one.name} copied {written} of {items} items")
    return cost


def _row(name: str, costs: dict[str, list[dict[str, float]]], items: int) -> dict[str, Any]:
    def cpu(of: str) -> list[float]:
        return [cost["cpu"] / items * 1e6 for cost in costs[of]]

    base = median(cpu(BASE + RENAME if name.endswith(RENAME) else BASE))
    return {
        "contender": name,
        **spread(COST, cpu(name)),
        "ratio": base / median(cpu(name)),
        "items/s": items / median([cost["wall"] for cost in costs[name]]),
        "peak MB": median([cost["peak"] for cost in costs[name]]) / 1e6,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = options(arguments)
    with installed(asked.peers, not asked.no_peers and not asked.quick) as peers:
        rows = measure(asked, peers)
        ratios = {
            row["contender"]: row["ratio"] for row in rows if row["contender"].startswith(OURS)
        }
        show("copy", rows, {"boto3 copier / ours": ratios, "peers": versions(peers)}, asked.json)


if __name__ == "__main__":
    main()
