"""The benchmark of rebuilding a container runs on a real engine. How fast is not tested."""

from __future__ import annotations

import json

import pytest

from fearless.errors import FearlessError
from fearless.testing.docker_engine import buildkit_command, check
from tests.benchmarks.test_benchmarks import run
from tests.docker_engine import without


@pytest.mark.slow
@pytest.mark.docker
def test_it_prints_its_figures() -> None:
    try:
        check()
        buildkit_command()
    except FearlessError as error:
        without(str(error.args[0]))
    found = json.loads(run("rebuild", "--quick", "--json"))
    assert found["benchmark"] == "rebuild"
    assert len(found["rows"]) == 5
    assert all(row["s"] > 0 for row in found["rows"])
    assert "promised 15 s / Fearless" in found["ratio"]
