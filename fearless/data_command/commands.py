"""`fearless data copy|follow|verify|...`: the data plane from the command line, for any two tables.

`doit release` uses the same engine for whole stacks; these commands know two tables only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Command = tuple[str, str]

COMMANDS: dict[str, Command] = {
    "copy": (
        "copy the items of SRC to DST; goes on where it was stopped",
        "fearless data copy orders orders-v2 --transforms plugins/transforms.py",
    ),
    "follow": (
        "apply what changes in SRC to DST, until caught up or for ever",
        "fearless data follow orders orders-v2 --transforms plugins/transforms.py --forever",
    ),
    "verify": (
        "prove that DST is what the transforms make of SRC",
        "fearless data verify orders orders-v2 --transforms plugins/transforms.py",
    ),
    "repair": (
        "make every item that differs, or is in quarantine, right; then verify",
        "fearless data repair orders orders-v2 --transforms plugins/transforms.py",
    ),
    "cutover": (
        "stop the writers of SRC, prove that nothing is missing, open DST",
        "fearless data cutover orders orders-v2 --fence role:shop-app --open role:shop-app-v2",
    ),
    "rollback": (
        "go back to SRC with everything that was written to DST since",
        "fearless data rollback orders orders-v2",
    ),
    "watch": (
        "look for what is still written to the table that was left at the cutover",
        "fearless data watch orders orders-v2 --seconds 3600",
    ),
    "status": (
        "how far everything is: segments, shards, lag, quarantine, cutover",
        "fearless data status orders orders-v2",
    ),
    "sample": (
        "try the transforms on some items of SRC; writes nothing",
        "fearless data sample orders orders-v2 --transforms plugins/transforms.py --count 50",
    ),
    "pause": (
        "let the workers of a run wait, wherever they are",
        "fearless data pause orders orders-v2",
    ),
    "resume": ("let them go on", "fearless data resume orders orders-v2"),
}

QUARANTINE: dict[str, Command] = {
    "list": (
        "the items that could not be migrated, and why",
        "fearless data quarantine list orders orders-v2",
    ),
    "retry": (
        "try to migrate them again",
        "fearless data quarantine retry orders orders-v2 --transforms plugins/transforms.py",
    ),
    "waive": (
        "accept that DST goes without one of them",
        "fearless data quarantine waive orders orders-v2 "
        "--key '{\"id\": \"o-17\"}' --reason 'a test order'",
    ),
}


def add_parser(subparsers: Any) -> None:
    """Add `data` and its commands; each sets `run(args) -> exit code`."""
    data = subparsers.add_parser(
        "data", help="copy one DynamoDB table to another, keep it in sync, prove it, go over"
    )
    commands = data.add_subparsers(dest="data", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        _fill(_add(commands, name, command), name)
    quarantine = commands.add_parser("quarantine", help="items that could not be migrated")
    kinds = quarantine.add_subparsers(dest="quarantine", required=True, metavar="COMMAND")
    for name, command in QUARANTINE.items():
        _fill(_add(kinds, name, command), f"quarantine {name}")


def _add(subparsers: Any, name: str, command: Command) -> argparse.ArgumentParser:
    text, example = command
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"Example: {example}",
        formatter_class=argparse.HelpFormatter,
    )
    return parser


def _fill(parser: argparse.ArgumentParser, name: str) -> None:
    parser.set_defaults(run=_run, command=name)
    parser.add_argument("source", metavar="SRC", help="the table that is live")
    parser.add_argument("target", metavar="DST", help="the table that is to take over")
    parser.add_argument("--json", action="store_true", help="JSON, one object a line")
    _add_sides(parser)
    if name not in ("status", "pause", "resume", "quarantine list"):
        _add_transforms(parser)
    if name in ("copy", "follow", "verify", "repair", "cutover", "rollback", "quarantine retry"):
        _add_work(parser)
    if name == "copy":
        parser.add_argument(
            "--again",
            action="store_true",
            help="copy everything from the beginning, with these transforms, into the same table",
        )
    if name == "follow":
        parser.add_argument(
            "--forever", action="store_true", help="go on as changes come, until interrupted"
        )
        parser.add_argument(
            "--heartbeat",
            type=float,
            metavar="SECONDS",
            default=5.0,
            help="with --forever: write a mark into SRC so often, which is never copied, to see "
            "how long changes take (default 5; 0 for none)",
        )
    if name == "watch":
        parser.add_argument(
            "--seconds",
            type=_seconds,
            metavar="S",
            default=0.0,
            help="look again and again for so long (default: once)",
        )
    if name == "pause":
        parser.add_argument("--reason", default="", help="for whoever wonders")
    if name == "sample":
        parser.add_argument("--count", type=_positive, default=1000, help="items (default 1000)")
        parser.add_argument(
            "--values", action="store_true", help="show values, which may be people's data"
        )
    if name in ("cutover", "rollback"):
        _add_cutover(parser, name)
    if name in ("quarantine retry", "quarantine waive"):
        parser.add_argument(
            "--key",
            required=name.endswith("waive"),
            metavar="JSON",
            help='the key of one item, as `list` prints it: \'{"id": "o-17"}\'',
        )
    if name == "quarantine waive":
        parser.add_argument("--reason", required=True, help="why, for whoever reads it later")


def _add_sides(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "where the tables are", "Without these, what the AWS environment and configuration say."
    )
    for side in ("", "source-", "target-"):
        what = {"": "both tables", "source-": "SRC", "target-": "DST"}[side]
        group.add_argument(f"--{side}endpoint-url", metavar="URL", help=f"of {what}")
        group.add_argument(f"--{side}region", metavar="REGION", help=f"of {what}")
        group.add_argument(f"--{side}profile", metavar="NAME", help=f"for {what}")
    group.add_argument(
        "--state-table",
        metavar="TABLE",
        default="fearless-state",
        help="beside DST, remembers every run; made on first use (default fearless-state)",
    )


def _add_transforms(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is done to the items")
    group.add_argument(
        "--transforms",
        metavar="FILE",
        default="",
        help="a Python file with `transforms()` or TRANSFORMS; the same in every command of a run",
    )
    group.add_argument(
        "--table", metavar="NAME", default="", help="what transforms call SRC (default: SRC)"
    )


def _add_work(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it is done")
    group.add_argument(
        "--engine",
        choices=("inline", "processes", "celery"),
        default="inline",
        help="where the work is done: in this process (default), in one for each core, or by "
        "`fearless worker` anywhere",
    )
    group.add_argument("--processes", type=_positive, metavar="N", help="of --engine processes")
    group.add_argument(
        "--queue", metavar="NAME", default="", help="of --engine celery: an SQS queue beside DST"
    )
    group.add_argument(
        "--segments", type=_positive, metavar="N", default=4, help="parallel scans (default 4)"
    )
    group.add_argument(
        "--max-rate", type=_rate, metavar="N", help="writes a second at most, of all workers"
    )
    group.add_argument(
        "--max-quarantine",
        type=_count,
        metavar="N",
        default=1000,
        help="items that may fail before a copy stops (default 1000)",
    )
    group.add_argument(
        "--zombie-seconds",
        type=_seconds,
        metavar="S",
        help="after which a request of a dead process cannot land any more "
        "(default 900; 2 when both endpoints are on this machine)",
    )


def _add_cutover(parser: argparse.ArgumentParser, name: str) -> None:
    live, other = ("SRC", "DST") if name == "cutover" else ("DST", "SRC")
    group = parser.add_argument_group("going over")
    default = "" if name == "cutover" else " (default: what the cutover opened it with)"
    group.add_argument(
        "--fence",
        metavar="HOW",
        help=f"what stops the writers of {live}: role:NAME[,NAME], policy, hook:COMMAND or "
        f"stop:ASG[,ASG]{default}",
    )
    default = " (default: none)" if name == "cutover" else " (default: undo the cutover's fence)"
    group.add_argument(
        "--open",
        metavar="HOW",
        help=f"what keeps the writers of {other} out until it is open: role:NAME[,NAME], policy, "
        f"hook:COMMAND, stop:ASG or none{default}",
    )
    group.add_argument(
        "--budget",
        type=_positive,
        metavar="S",
        default=60,
        help="seconds of refused writes at most, or all is undone (default 60)",
    )
    group.add_argument("--resume", action="store_true", help="go on with one that was interrupted")
    group.add_argument("--abort", action="store_true", help="give up one that was interrupted")
    if name == "cutover":
        group.add_argument(
            "--accept-one-way", action="store_true", help="go over though nothing leads back"
        )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _run(args: argparse.Namespace) -> int:
    from fearless.data_command.actions import run

    return run(args)


def _positive(text: str) -> int:
    return int(_number(text, int, 1))


def _count(text: str) -> int:
    return int(_number(text, int, 0))


def _seconds(text: str) -> float:
    return float(_number(text, float, 0))


def _rate(text: str) -> float:
    return float(_number(text, float, 1))


def _number(text: str, kind: Callable[[str], Any], least: int) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not least <= number < 1e9:
        kinds = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{text!r} is not a {kinds} of at least {least}")
    return number
