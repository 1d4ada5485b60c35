"""A worker on another machine gets the run's transforms, and no others, from what lies there."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from fearless.builtin.dynamodb import transforms_of
from fearless.data.job import Endpoint, Job
from fearless.data.pipe import named
from fearless.data.settings import Settings
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.worker_command import OF_STACKS, run, transforms

PLUGIN = """
from fearless import Transform, hookimpl

def up(item):
    return item

@hookimpl
def transforms(release=None):
    return [Transform(name, ("orders",), up) for name in ("one", "two", "three")]
"""
NOWHERE = Endpoint("http://127.0.0.1:1", "us-east-1")
RELEASE = ["shop", "a" * 40, "20260101-a", "release/20260101-a", "shop-r-1", "release", None]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's plugin, in the working directory."""
    (tmp_path / "plugins").mkdir()
    path = tmp_path / "plugins" / "moves.py"
    path.write_text(PLUGIN)
    (tmp_path / "release.toml").write_text('[app]\nname = "shop"\n[tables.orders]\nhash = "k"\n')
    monkeypatch.chdir(tmp_path)
    return path


def a_job(loader: str, **arguments: object) -> Job:
    return Job("r1", "state", (), Settings(), NOWHERE, NOWHERE, NOWHERE, loader, arguments)


def of_stack(*names: str) -> Job:
    return a_job(OF_STACKS, root="/gone", ops="/gone", release=RELEASE, names=list(names))


def test_those_of_a_release_are_the_project_s_here(file: Path) -> None:
    found = transforms(of_stack("three", "one"), None)
    assert [transform.name for transform in found] == ["three", "one"]
    assert named(OF_STACKS) is transforms_of, "it is what the store calls it by"


def test_those_in_a_file_are_the_ones_that_the_run_names(file: Path) -> None:
    found = transforms(of_stack("three", "one"), file)
    assert [transform.name for transform in found] == ["three", "one"]
    assert len(transforms(a_job("whatever:it_says"), file)) == 3


def test_one_that_is_missing_is_named(file: Path) -> None:
    with pytest.raises(Refused, match=r"has no transform 'four' \(it has: one, two, three\)"):
        transforms(of_stack("four"), file)
    with pytest.raises(FearlessError, match="no transform 'four'"):
        transforms(of_stack("four"), None)


def test_a_row_does_not_choose_code() -> None:
    with pytest.raises(Refused, match="os:system, which this worker does not do"):
        transforms(a_job("os:system", command="id"), None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"queue": ""}, "a worker needs a queue: --queue NAME, or FEARLESS_QUEUE"),
        ({"threads": 0}, "--threads 0: it must be at least 1"),
        ({"processes": 0}, "--processes 0: it must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object], message: str) -> None:
    usual = {"queue": "q", "threads": 1, "processes": 1, "transforms": None, "endpoint_url": None}
    with pytest.raises(ConfigError, match=message):
        run(argparse.Namespace(**{**usual, **given}))
