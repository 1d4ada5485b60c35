"""The `fearless` command: what is not a task of the release procedure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fearless.errors import ConfigError, FearlessError, explain


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code (0 done, 1 failed, 2 usage, 3 refused, 4 not authorised)."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        print(explained, file=sys.stderr)
        return explained.exit_code


def _parser() -> argparse.ArgumentParser:
    from fearless import lint_command, worker_command
    from fearless.build_command import commands as build
    from fearless.data_command import commands as data
    from fearless.local import commands

    parser = argparse.ArgumentParser(
        prog="fearless",
        description="Release tooling that makes deploying an AWS application boring. "
        "The release procedure itself is run by doit: `doit list`, `doit release`.",
    )
    parser.add_argument("--version", action="version", version=_version())
    sub = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    init = sub.add_parser("init", help="write dodo.py, release.toml, templates/, packer/, plugins/")
    init.add_argument("folder", nargs="?", default=".", help="the app's git repository")
    init.add_argument("--name", help="the app's name (default: the folder's)")
    init.add_argument("--source", help="the folder of the Dockerfile (default: .)")
    init.add_argument("--port", type=int, help="the port it listens on (default: EXPOSE)")
    init.add_argument("--health", help="a path that answers 200 (default: HEALTHCHECK's, or /)")
    init.add_argument("--release", help='a path that answers {"sha": ..., "stack": ...}')
    init.set_defaults(run=_init)
    commands.add_parser(sub)
    build.add_parser(sub)
    data.add_parser(sub)
    lint_command.add_parser(sub)
    worker_command.add_parser(sub)
    return parser


def _init(args: argparse.Namespace) -> int:
    from fearless.git import Git
    from fearless.init import facts, write

    folder = Path(args.folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    try:
        Git(folder).prefix()
    except FearlessError as error:
        raise ConfigError(f"{folder}: {error.args[0]}; run `git init` first") from None
    app = facts(folder, args.name, args.source, args.port, args.health, args.release)
    for name in write(folder, app):
        print(f"  {name}")
    print(
        f"Wrote the release procedure of {app.name} (port {app.port}, health {app.health}).\n"
        "Next: look at release.toml, commit (a release is a commit), then run `doit release`."
    )
    return 0


def _version() -> str:
    from importlib.metadata import version

    return f"fearless {version('fearless')}"
