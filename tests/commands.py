"""Finds the `doit` and `fearless` commands that a Markdown page quotes, and checks each of them."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest.mock import patch

from doit.doit_cmd import DoitMain

from fearless import cli
from fearless.command_line import COMMANDS, VARIABLES
from fearless.interfaces import Release
from fearless.project import Project
from fearless.steps.gate import gate_names

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+)`")
SHELL = ("", "sh", "bash", "console", "text")
BREAK = ("|", "||", "&&", ";", "&", ">", ">>", "2>", "<")
DEV_STEPS = ("image", "ami", "stack", "data", "deploy")


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced code blocks of a page in one of the languages."""
    return [code for language, code in FENCE.findall(text) if language in languages]


def commands(text: str) -> Iterator[list[str]]:
    """Every `doit` and `fearless` command of a page, as words, without the program before it."""
    lines = [line for code in blocks(text, *SHELL) for line in code.splitlines()]
    for line in [*lines, *INLINE.findall(FENCE.sub("", text))]:
        yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    if not re.search(r"\b(doit|fearless)\b", line):
        return
    try:
        words = shlex.split(line.removeprefix("$ "), comments=True)
    except ValueError:
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in BREAK and not word.endswith(";"):
            command.append(word)
            continue
        command = [*command, word[:-1]] if word not in BREAK else command
        while command and re.fullmatch(r"\w+=\S*", command[0]):
            command = command[1:]
        if command and Path(command[0]).name in ("doit", "fearless"):
            yield [Path(command[0]).name, *command[1:]]
        command = []


def problem(words: list[str], gates: Iterable[str] = ()) -> str:
    """What is wrong with a command; empty for one that exists. `gates` are also known."""
    program, *arguments = words
    arguments = [word.strip("[]") for word in arguments if word not in ("...", "…")]
    if program == "doit":
        return _doit(arguments, gates)
    found = (_fearless(choice) for choice in _choices(arguments))
    return next((text for text in found if text), "")


def _choices(words: list[str]) -> list[list[str]]:
    """`local up|stop` is two commands."""
    many = next((i for i, word in enumerate(words) if "|" in word), None)
    if many is None:
        return [words]
    return [[*words[:many], one, *words[many + 1 :]] for one in words[many].split("|")]


def _fearless(words: list[str]) -> str:
    with patch.object(sys, "argv", ["fearless", *words]):
        parser = cli._parser()
    here = parser
    for word in words:
        choices = _subcommands(here)
        if word.startswith("-") or not choices:
            break
        if word not in choices:
            return f"`{here.prog} {word}`: there is no such command (have {', '.join(choices)})"
        here = choices[word]
    else:
        if _subcommands(here):
            return ""
    unknown = [
        option
        for option in (word.partition("=")[0] for word in words if word.startswith("-"))
        if option not in here._option_string_actions
    ]
    if unknown:
        return f"`{here.prog}` has no option {unknown[0]}"
    try:
        with patch.object(argparse.ArgumentParser, "_print_message"):
            parser.parse_args(words)
    except SystemExit as ended:
        return f"`fearless {' '.join(words)}` is refused" if ended.code else ""
    return ""


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _doit(words: list[str], gates: Iterable[str]) -> str:
    plain = [word for word in words if not word.startswith("-")]
    for name, _, _ in (word.partition("=") for word in plain if "=" in word):
        if name not in VARIABLES:
            return f"there is no variable {name!r} (have {', '.join(VARIABLES)})"
    names = [word for word in plain if "=" not in word]
    command = names.pop(0) if names and names[0] in COMMANDS else "run"
    known = _options(command)
    for option in (word.partition("=")[0] for word in words if word.startswith("-")):
        if option not in known:
            return f"`doit {command}` has no option {option}"
    tasks = {*_tasks(), *(f"gate:{gate}" for gate in (*_gates(), *gates))}
    if command == "help":
        tasks |= COMMANDS
    unknown = [name for name in names if name not in tasks and not _placeholder(name)]
    return f"there is no task {unknown[0]!r}" if unknown else ""


def _placeholder(name: str) -> bool:
    return name in ("gate:*", "gate:<name>", "<task>", "TASK")


def _options(command: str) -> set[str]:
    found = DoitMain().get_cmds().get_plugin(command)
    options = [*found.base_options, *found.cmd_options, *_common()]
    short = {f"-{option['short']}" for option in options if option.get("short")}
    return short | {f"--{option['long']}" for option in options if option.get("long")}


def _common() -> list[dict[str, str]]:
    return [{"short": "f", "long": "file"}, {"short": "d", "long": "dir"}]


def _tasks() -> set[str]:
    tree = ast.parse((ROOT / "dodo.py").read_text())
    found = {node.name[5:] for node in tree.body if isinstance(node, ast.FunctionDef)}
    return found | {f"devstack:{step}" for step in DEV_STEPS}


def _gates() -> list[str]:
    return gate_names(Project(ROOT), Release("shop", "0" * 40, "r", "t", "s"))
