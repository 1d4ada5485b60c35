"""`fearless build worker`: build what is sent, until SIGTERM."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fearless.build_command.here import builder_here
from fearless.errors import ConfigError

if TYPE_CHECKING:
    from fearless.builtin.farm.builder import QueueBuilder
    from fearless.project import Project

REPOSITORY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/-]{0,127})=(\S+)")
LONGEST = 39600
"""Seconds of a build: SQS keeps a message hidden for twelve hours in all."""


def add_parser(commands: Any) -> None:
    """Add `worker`."""
    worker = commands.add_parser("worker", help="build what is sent, until SIGTERM")
    worker.add_argument(
        "--repository",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="a repository that may be built (default: that of this project)",
    )
    worker.add_argument("--slots", type=int, default=1, help="builds at once (default: 1)")
    worker.add_argument("--name", help="what it is called (default: HOST-PID)")
    worker.add_argument(
        "--timeout",
        type=float,
        default=3600,
        metavar="SECONDS",
        help="of a whole build, with fetch and push (default: 3600)",
    )
    worker.add_argument(
        "--visibility",
        type=int,
        default=120,
        metavar="SECONDS",
        help="another takes over when this worker is dead for so long (default: 120)",
    )
    worker.set_defaults(run=_work)


def _work(args: argparse.Namespace) -> int:
    from fearless.builtin.farm.ready import make_ready
    from fearless.builtin.farm.workplace import workplace
    from fearless.progress import report

    for name, least, most in (("slots", 1, 64), ("visibility", 3, 43200), ("timeout", 1, LONGEST)):
        if not least <= getattr(args, name) <= most:
            raise ConfigError(f"--{name} {getattr(args, name)}: it must be {least} to {most}")
    builder = builder_here()
    known = repositories(args.repository, builder.repository, builder.project)
    builder.project.cloud.ensure(report())
    make_ready(builder.project, report())
    with workplace(builder.project.directory / "farm") as folder:
        return _until_told(args, builder, known, folder)


def _until_told(
    args: argparse.Namespace, builder: QueueBuilder, known: Mapping[str, str], folder: Path
) -> int:
    from fearless.builtin.farm.runner import Processes
    from fearless.builtin.farm.worker import Settings, Worker

    settings = Settings(
        name=args.name or f"{socket.gethostname()}-{os.getpid()}",
        repositories=known,
        directory=folder,
        slots=args.slots,
        visibility=args.visibility,
        timeout=args.timeout,
    )
    runner = Processes(builder.project.root, folder.parent / "repositories")
    worker = Worker(builder.farm.queue, builder.farm.builds, runner, settings, _say)
    told: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        told.append(number)
        worker.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    worker.run()
    return 130 if signal.SIGINT in told else 0


def _say(text: str) -> None:
    print(text, flush=True)


def repositories(given: Iterable[str], name: str, project: Project) -> Mapping[str, str]:
    """`NAME=URL` as a mapping; without any, the repository that the project is in."""
    found: dict[str, str] = {}
    for text in given:
        match = REPOSITORY.fullmatch(text)
        if not match:
            raise ConfigError(f"--repository {text}: it must be NAME=URL")
        if re.match(r"\w+://[^/@\s]*:[^/@\s]*@", match[2]):
            raise ConfigError(
                f"--repository {match[1]}: a password in a URL is seen by everybody on this "
                "machine; use a git credential helper, or SSH"
            )
        if match[2].startswith("-"):
            raise ConfigError(f"--repository {text}: {match[2]} is not a URL")
        if found.setdefault(match[1], match[2]) != match[2]:
            raise ConfigError(f"--repository {match[1]} is given twice")
    if found:
        return found
    return {name: str(project.root)}
