"""`fearless local up|stop|status|reset|traffic`: the embedded cloud from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless.errors import ConfigError, Refused
from fearless.local.cloud import LocalCloud

if TYPE_CHECKING:
    from fearless.project import Project


def add_parser(subparsers: Any) -> None:
    """Add `local` and its commands; each sets `run(args) -> exit code`."""
    local = subparsers.add_parser("local", help="the embedded cloud: AWS on this machine")
    commands = local.add_subparsers(dest="local", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start it, or say where it runs")
    commands.add_parser("stop", help="stop it; tables, stacks and records are kept")
    status = commands.add_parser("status", help="what runs: load balancers, targets, instances")
    status.add_argument("--json", action="store_true", help="for programs")
    reset = commands.add_parser("reset", help="stop it and delete everything it keeps")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    traffic = commands.add_parser("traffic", help="requests to the app, and what was lost")
    if "traffic" in sys.argv:
        from fearless.local.traffic import add_arguments

        add_arguments(traffic)
    for parser in commands.choices.values():
        parser.set_defaults(run=_run_here)


def _run_here(args: argparse.Namespace) -> int:
    from fearless.project import Project

    return run(args, Project(Path.cwd()))


def run(args: argparse.Namespace, project: Project) -> int:
    """Carry out `args.local`; the exit code."""
    cloud = project.cloud
    if not isinstance(cloud, LocalCloud):
        use = project.config.cloud.use
        raise ConfigError(
            f'release.toml has [cloud] use = "{use}": `fearless local` is for use = "local"'
        )
    if args.local == "up":
        return _up(cloud)
    if args.local == "stop":
        return _stop(cloud)
    if args.local == "status":
        return _status(cloud, args.json)
    if args.local == "reset":
        return _reset(cloud, args.yes)
    from fearless.local import traffic

    return traffic.run(args, cloud.public_url(project.domain))


def _up(cloud: LocalCloud) -> int:
    from fearless.progress import report

    cloud.ensure(report())
    print(f"The embedded cloud runs. The app: {cloud.public_url(cloud.project.domain)}")
    return 0


def _stop(cloud: LocalCloud) -> int:
    stopped = cloud.stop()
    print("Stopped; everything is saved." if stopped else "The embedded cloud does not run.")
    return 0


def _status(cloud: LocalCloud, as_json: bool) -> int:
    status = cloud.status()
    if as_json:
        print(json.dumps({"running": status is not None, **(status or {})}, indent=2))
    elif status is None:
        print("The embedded cloud does not run: start it with `fearless local up`.")
    else:
        print("\n".join(describe(status)))
    return 0


def _reset(cloud: LocalCloud, yes: bool) -> int:
    if not yes:
        _confirm(cloud.directory.root)
    cloud.reset()
    print("Deleted the embedded cloud: tables, stacks, images and records.")
    return 0


def _confirm(directory: Path) -> None:
    what = f"everything of the embedded cloud in {directory}"
    if not sys.stdin.isatty():
        raise Refused(f"this deletes {what}: add --yes")
    print(f"This deletes {what}. Type `reset` to go on: ", end="", flush=True)
    if sys.stdin.readline().strip() != "reset":
        raise Refused("nothing was deleted")


# ------------------------------------------------------------------ status for people


def describe(status: Mapping[str, Any]) -> Iterable[str]:
    """The lines of `fearless local status`."""
    yield f"daemon     pid {status['pid']}, since {status['started']}"
    if "emulator" not in status:
        yield "           starting"
        return
    yield f"emulator   {status['emulator']}"
    public = status["public"]
    yield f"app        {public['url']} -> {public['name']} -> {public['target'] or 'nothing'}"
    if public["problem"]:
        yield f"           {public['problem']}"
    for balancer in status["balancers"]:
        yield f"balancer   {balancer['name']}  {balancer['url'] or 'no listener'}"
        if balancer["problem"]:
            yield f"           {balancer['problem']}"
        for target in balancer["targets"]:
            told = f"  {target['description']}" if target["description"] else ""
            yield f"  target   {target['id']}  port {target['port']}  {target['state']}{told}"
    for group in status["groups"]:
        members = [i for i in status["instances"] if i["group"] == group["name"]]
        running = sum(i["state"] == "running" for i in members)
        yield f"group      {group['name']}  {running} of {group['desired']} running"
        yield from (_instance(member) for member in members)
        if group["problem"]:
            yield f"  last     {group['at']} {group['problem']}"
        if group["failures"]:
            yield f"           failed {group['failures']} times in a row; what it said last:"
            yield from (f"           | {line}" for line in group["log"])


def _instance(instance: Mapping[str, Any]) -> str:
    health = "healthy" if instance["healthy"] else instance["reason"] or "not healthy yet"
    return (
        f"  instance {instance['id']}  {instance['state']}  pid {instance['pid'] or '-'}  "
        f"{instance['mode'] or '-'}  {health}"
    )
