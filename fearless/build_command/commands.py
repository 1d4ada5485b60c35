"""`fearless build send|worker|queue|show|wait|dlq`: the build farm from the command line."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fearless.build_command import letters, work
from fearless.build_command.here import builder_here, json_option, print_json
from fearless.errors import ConfigError, suggest

if TYPE_CHECKING:
    from fearless.builtin.farm.builder import QueueBuilder
    from fearless.builtin.farm.farm import Farm
    from fearless.builtin.farm.status import Status


def add_parser(subparsers: Any) -> None:
    """Add `build` and its commands; each sets `run(args) -> exit code`."""
    build = subparsers.add_parser("build", help="the build farm: send builds, work, look, wait")
    commands = build.add_subparsers(dest="build", required=True, metavar="COMMAND")
    send = commands.add_parser("send", help="order a build of a commit: ref=main, or --ref main")
    send.add_argument("words", nargs="*", metavar="ref=REF", help="or force=1, wait=1")
    send.add_argument("--ref", help="a SHA, tag or branch (default: HEAD)")
    send.add_argument("--force", action="store_true", help="although it was built already")
    send.add_argument("--wait", action="store_true", help="show its log, and wait for its end")
    json_option(send).set_defaults(run=_send)
    work.add_parser(commands)
    queue = commands.add_parser("queue", help="what waits, what is built, who works")
    json_option(queue).set_defaults(run=_queue)
    show = commands.add_parser("show", help="what became of a build, and its log")
    show.add_argument("id", metavar="ID", help="or its beginning")
    json_option(show).set_defaults(run=_show)
    wait = commands.add_parser("wait", help="show a build's log, and wait for its end")
    wait.add_argument("id", metavar="ID", help="or its beginning")
    wait.add_argument("--timeout", type=float, metavar="SECONDS", help="wait no longer")
    json_option(wait).set_defaults(run=_wait)
    letters.add_parser(commands)


# ------------------------------------------------------------------ sending and waiting


def _send(args: argparse.Namespace) -> int:
    from fearless.builtin.farm.builder import sender

    given = _words(args.words)
    ref = args.ref or given.get("ref") or "HEAD"
    if args.ref and given.get("ref") not in (None, args.ref):
        raise ConfigError(f"ref={given['ref']} and --ref {args.ref}: give one of them")
    builder = builder_here()
    sha, _ = builder.project.git.commit(ref)
    force = args.force or given.get("force") == "1"
    sent = builder.farm.send(builder.options, builder.repository, sha, ref, sender(), again=force)
    id = sent.status.id
    if args.wait or given.get("wait") == "1":
        return _until_over(builder, id, None, args.json)
    if args.json:
        print_json({**sent.status.facts(), "new": sent.new})
    elif sent.new:
        print(f"{id}  {ref} at {sha[:10]}: sent; `fearless build wait {id}`")
    else:
        print("\n".join(_lines(sent.status)))
    return 0


def _words(words: Iterable[str]) -> dict[str, str]:
    """`ref=main force=1` as a mapping."""
    known = {"ref": "", "force": "0 or 1", "wait": "0 or 1"}
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            raise ConfigError(
                f"`fearless build send {word}`: there is no such variable"
                f"{suggest(name, known)}; it takes ref=REF, force=1 and wait=1"
            )
        if known[name] and value not in ("0", "1"):
            raise ConfigError(f"{word}: it must be 0 or 1")
        if not value:
            raise ConfigError(f"{word}: it is empty")
        found[name] = value
    return found


def _wait(args: argparse.Namespace) -> int:
    builder = builder_here()
    return _until_over(builder, _find(builder.farm, args.id).id, args.timeout, args.json)


def _until_over(builder: QueueBuilder, id: str, timeout: float | None, as_json: bool) -> int:
    from fearless.builtin.farm.builder import finished

    def say(lines: Sequence[str]) -> None:
        print("\n".join(lines), file=sys.stderr if as_json else sys.stdout, flush=True)

    status = builder.farm.watch(id, say, patience=builder.patience, timeout=timeout)
    if as_json:
        print_json(status.facts())
    finished(status)
    if not as_json:
        print("\n".join(_lines(status)))
    return 0


# ------------------------------------------------------------------ looking


def _queue(args: argparse.Namespace) -> int:
    farm = builder_here().farm
    depth, builds, workers = farm.queue.depth(), farm.builds.builds(), farm.builds.workers()
    open_builds = [status for status in builds if not status.over]
    now = time.time()
    oldest = min((s.queued for s in open_builds if s.state == "queued"), default=None)
    age = None if oldest is None else round(now - oldest, 1)
    if args.json:
        facts = {
            "visible": depth.visible,
            "in_flight": depth.in_flight,
            "dead": depth.dead,
            "oldest_seconds": age,
            "workers": [vars(worker) for worker in workers],
            "builds": [status.facts() for status in builds],
        }
        print_json(facts)
        return 0
    waiting = "" if age is None else f", the oldest for {age:.0f} s"
    print(
        f"{farm.queue.name}: {depth.visible} waiting{waiting}; {depth.in_flight} in hand; "
        f"{depth.dead} dead"
    )
    for worker in workers:
        print(f"worker  {worker.name}  {worker.slots} slots  {', '.join(worker.repositories)}")
    if not workers:
        print("no worker is alive: start one with `fearless build worker`")
    over = [status for status in builds if status.over]
    for status in [*over[-10:], *open_builds]:
        print("\n".join(_lines(status)))
    return 0


def _show(args: argparse.Namespace) -> int:
    from fearless.builtin.farm.log import LogReader

    farm = builder_here().farm
    status = _find(farm, args.id)
    log = LogReader(farm.builds, status.id).lines()
    if args.json:
        print_json({**status.facts(), "log": log})
    else:
        print("\n".join([*log, *_lines(status)]))
    return 0


def _find(farm: Farm, id: str) -> Status:
    """The build whose id begins so."""
    exact = farm.builds.status(id)
    found = [exact] if exact else [s for s in farm.builds.builds() if s.id.startswith(id)]
    if not found:
        return farm.builds.need(id)
    if len({status.id for status in found}) > 1:
        raise ConfigError(f"{id!r} is the beginning of several: {', '.join(s.id for s in found)}")
    return found[0]


def _lines(status: Status) -> list[str]:
    took = f" in {status.seconds:.1f} s" if status.seconds is not None else ""
    by = f" by {status.worker}" if status.worker else ""
    lines = [f"{status.id}  {status.state}{took}{by}  {status.repository} {status.ref}"]
    if status.digest:
        lines.append(f"  {status.reference}")
    if status.error:
        lines.append(f"  {status.error}")
    return lines
