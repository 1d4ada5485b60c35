"""What a benchmark found: medians, ratios and the machine, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def median(values: Sequence[float]) -> float:
    """The median."""
    return float(statistics.median(values))


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """The median, and beside it the least and the most, as columns of a row."""
    return {name: median(values), "least": min(values), "most": max(values)}


def machine() -> dict[str, str]:
    """What it ran on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options every benchmark has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    made.add_argument("--quick", action="store_true", help="tiny sizes, one round: does it run?")
    return made


def show(title: str, rows: Sequence[dict[str, Any]], facts: dict[str, Any], as_json: bool) -> None:
    """Print the rows, and below them the facts that are not of one row."""
    facts = {**facts, "machine": machine()}
    if as_json:
        sys.stdout.write(json.dumps({"benchmark": title, "rows": rows, **facts}) + "\n")
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(names))]
    lines = [title]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines += [f"{name}: {_fact(value)}" for name, value in facts.items()]
    sys.stdout.write("\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value)


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    return _cell(value)
