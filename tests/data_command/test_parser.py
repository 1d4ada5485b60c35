"""The command line of `fearless data`: help, options, and the page that documents them."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from fearless import cli
from fearless.data_command.call import options
from fearless.data_command.commands import COMMANDS, QUARANTINE
from fearless.data_command.runs import Options
from fearless.data_command.sides import Access
from tests.commands import ROOT, problem

ALL = {**COMMANDS, **{f"quarantine {name}": value for name, value in QUARANTINE.items()}}
PAGE = (ROOT / "docs" / "data.md").read_text()


def parser(command: str) -> argparse.ArgumentParser:
    here = cli._parser()
    for word in ("data", *command.split()):
        (action,) = (a for a in here._actions if isinstance(a, argparse._SubParsersAction))
        here = action.choices[word]
    return here


def given(command: str, *more: str) -> Options:
    return options(cli._parser().parse_args(["data", *command.split(), "a", "b", *more]))


@pytest.mark.parametrize("command", ALL)
def test_help_has_an_example_that_works(command: str) -> None:
    example = ALL[command][1]
    shown = " ".join(parser(command).format_help().split())
    assert shown.endswith(f"Example: {example}")
    assert example.startswith(f"fearless data {command} ")
    assert problem(shlex.split(example)) == ""


def test_every_option_is_documented() -> None:
    known = {
        option
        for command in ALL
        for option in parser(command)._option_string_actions
        if option not in ("-h", "--help")
    }
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) == known


def test_defaults_are_those_of_a_run() -> None:
    for command in ("copy", "status", "cutover"):
        assert given(command) == Options("a", "b")


def test_sides() -> None:
    found = given(
        "copy",
        *("--endpoint-url", "http://one", "--target-endpoint-url", "http://two"),
        *("--region", "r", "--source-profile", "p"),
    )
    assert found.source_access == Access("http://one", "r", "p")
    assert found.target_access == Access("http://two", "r", None)


def test_work() -> None:
    words = "--transforms f.py --table t --engine processes --processes 3 --segments 8"
    more = "--max-rate 500 --max-quarantine 0 --zombie-seconds 1.5 --state-table s --again"
    assert given("copy", *words.split(), *more.split()) == Options(
        "a",
        "b",
        state_table="s",
        transforms="f.py",
        name="t",
        segments=8,
        engine="processes",
        processes=3,
        max_rate=500.0,
        max_quarantine=0,
        zombie=1.5,
        again=True,
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("copy a", "the following arguments are required: DST"),
        ("copy a b --segments 0", "'0' is not a whole number of at least 1"),
        ("copy a b --max-rate fast", "'fast' is not a number of at least 1"),
        ("copy a b --zombie-seconds nan", "'nan' is not a number of at least 0"),
        ("copy a b --engine magic", "invalid choice: 'magic'"),
        ("status a b --transforms x", "unrecognized arguments: --transforms x"),
        ("quarantine waive a b --key {}", "the following arguments are required: --reason"),
        ("quarantine", "the following arguments are required: COMMAND"),
    ],
)
def test_mistakes(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", *words.split()])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
