"""What a user types after `doit`: its tasks, its variables, and doit's own commands."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doit.cmd_base import DodoTaskLoader
from doit.cmd_run import Run
from doit.cmdparse import CmdOption, CmdParse, CmdParseError
from doit.exceptions import InvalidDodoFile

from fearless.errors import suggest

VARIABLES = {
    "sha": "the commit to release: a SHA, tag or branch (default HEAD)",
    "tag": "the git tag to make for it (default release/<date>-<sha7>)",
    "branch": "the branch of a dev stack",
    "accept_data_loss": "accept_data_loss=1 rolls back, or retires, though writes are lost by it",
    "retry": "retry=1 migrates what is in quarantine once more",
    "waive": "the item in quarantine to leave out, as `doit quarantine` names it",
    "reason": "why it may be left out",
    "keep": "how many of the newest images image_reap leaves, used or not (default 20)",
    "days": "how many days old an image must be for image_reap to delete it (default 30)",
    "dry": "dry=1 shows what would be done and changes nothing",
    "json": "json=1 prints one JSON object instead of text",
    "yes": "yes=1 asks no questions",
}

FLAGS = ("dry", "json", "yes")
"""Variables of every task that are 0 or 1."""

SWITCHES = (*FLAGS, "accept_data_loss", "retry")
"""All variables that are 0 or 1."""

USES = {
    **dict.fromkeys("tag image ami stack copy sync gate cutover".split(), ("sha", "tag")),
    **dict.fromkeys("release plan status releases plugins images".split(), ("sha", "tag")),
    "image_reap": ("keep", "days"),
    "devstack": ("branch",),
    "drop": ("branch", "sha"),
    "retire": ("sha", "tag", "accept_data_loss"),
    "rollback": ("sha", "accept_data_loss"),
    "quarantine": ("sha", "tag", "retry", "waive", "reason"),
}
"""The other variables, by the tasks that use them. Tasks of plugins may use all."""

MEANT = {
    "sha": "release",
    "tag": "release",
    "branch": "devstack",
    "accept_data_loss": "rollback",
    **dict.fromkeys(("retry", "waive", "reason"), "quarantine"),
    **dict.fromkeys(("keep", "days"), "image_reap"),
}
"""The task somebody means who gives a variable to one that does not use it."""

COMMANDS = frozenset(
    "run list info clean forget ignore auto dumpdb help tabcompletion strace reset-dep".split()
)
"""doit's own commands: no task may have such a name."""


def command_line() -> tuple[str, list[str]]:
    """doit's command, and what it is to do that to, as doit itself reads its command line.

    Two empty answers when dodo.py is read by anything but `doit`.
    """
    if Path(sys.argv[0]).name not in ("doit", "__main__.py"):
        return "", []
    words = sys.argv[1:]
    loader = DodoTaskLoader()
    with contextlib.suppress(CmdParseError):  # options of `run`, which is left out
        _, words = CmdParse([CmdOption(o) for o in loader.cmd_options]).parse(words)
    words = [word for word in words if word.startswith("-") or "=" not in word]
    command = words.pop(0) if words and words[0] in COMMANDS else "run"
    if command == "run":
        try:
            _, words = Run(task_loader=loader).cmdparser.parse(words)
        except CmdParseError:
            words = []  # doit says so itself
    return command, [word for word in words if not word.startswith("-")]


def tasks_of(dodo: Path) -> set[str]:
    """The tasks a dodo.py defines, without running it."""
    functions = (n.name for n in ast.parse(dodo.read_text()).body if isinstance(n, ast.FunctionDef))
    return {name.removeprefix("task_") for name in functions if name.startswith("task_")}


def variables(given: Mapping[str, Any], command: str) -> dict[str, str]:
    """The variables of a command line, "" for those not given. Raises InvalidDodoFile."""
    for name, value in given.items():
        if name not in VARIABLES:
            known = "; ".join(f"{key}= {text}" for key, text in VARIABLES.items())
            raise InvalidDodoFile(
                f"unknown variable {name!r}{suggest(name, VARIABLES)}. Known: {known}"
            )
        if name in SWITCHES and value not in ("", "0", "1") and command == "run":
            raise InvalidDodoFile(f"{name}={value}: {name} is 1 or 0, not {value!r}")
    return {name: str(given.get(name, "")) for name in VARIABLES}
