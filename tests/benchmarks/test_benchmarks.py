"""Every benchmark runs, at a tiny size, and prints what it found. How fast is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import NAMES, placed

ROOT = Path(__file__).parents[2]
COLUMNS = {
    "copy": "CPU us/item",
    "cores": "per core",
    "verify": "CPU us/item",
    "stream": "CPU us/record",
    "growth": "peak MB",
    "half_million": "items/s",
    "farm": "send to start ms",
}


def run(name: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMNS)
def test_it_prints_its_figures(name: str) -> None:
    found = json.loads(run(name, "--quick", "--json"))
    assert found["benchmark"] == name
    assert found["rows"]
    assert all(row[COLUMNS[name]] > 0 for row in found["rows"])
    assert any("ratio" in fact or " / " in fact for fact in found)
    assert found["machine"]["cpu"]


@pytest.mark.slow
def test_a_table_for_people() -> None:
    lines = run("stream", "--quick").splitlines()
    assert lines[0] == "stream"
    assert "CPU us/record" in lines[1]
    assert lines[2].startswith("Fearless")
    assert any(line.startswith("ratio: ") for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_explained_and_has_a_place_for_its_figures(name: str) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert f"`python -m benchmarks.{name}`" in page
    assert "```text\n12 \\1 34\n```\n<!--" in placed(page, name, "12 \\1 34\n")
    assert placed(placed(page, name, "1"), name, "2") == placed(page, name, "2")


def test_every_benchmark_is_run() -> None:
    on_an_engine = {"rebuild"}  # in a file of its own
    assert set(NAMES) == set(COLUMNS) | on_an_engine
