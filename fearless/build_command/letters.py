"""`fearless build dlq list|show|redrive|purge`: what nobody will try again, and why."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from fearless.build_command.here import builder_here, json_option, print_json
from fearless.errors import ConfigError, Refused

if TYPE_CHECKING:
    from fearless.builtin.farm.queue import Dead


def add_parser(commands: Any) -> None:
    """Add `dlq` and its commands."""
    dlq = commands.add_parser("dlq", help="dead letters: what nobody will try again, and why")
    letters = dlq.add_subparsers(dest="dlq", required=True, metavar="COMMAND")
    json_option(letters.add_parser("list", help="all of them")).set_defaults(run=_list)
    for name, does, run in (
        ("show", "the whole message", _show),
        ("redrive", "order the build once more", _redrive),
    ):
        letter = letters.add_parser(name, help=does)
        letter.add_argument("id", metavar="ID", help="of a letter")
        json_option(letter).set_defaults(run=run)
    purge = letters.add_parser("purge", help="delete one, or all")
    purge.add_argument("id", metavar="ID", nargs="?", help="of a letter")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    json_option(purge).set_defaults(run=_purge)


def _list(args: argparse.Namespace) -> int:
    letters = builder_here().farm.queue.dead()
    if args.json:
        print_json([_letter(letter) for letter in letters])
    for letter in () if args.json else letters:
        facts = _letter(letter)
        print(f"{letter.id[:8]}  {facts['at']}  {facts['build'] or '-'}  {letter.reason}")
    if not letters and not args.json:
        print("no dead letters")
    return 0


def _show(args: argparse.Namespace) -> int:
    queue = builder_here().farm.queue
    found = [letter for letter in queue.dead() if args.id in (letter.id, letter.id[:8])]
    if not found:
        raise ConfigError(f"{queue.dead_name} has no letter {args.id!r}: `fearless build dlq list`")
    facts = _letter(found[0])
    if args.json:
        print_json(facts)
    else:
        print("\n".join(f"{name:<8} {value}" for name, value in facts.items()))
    return 0


def _redrive(args: argparse.Namespace) -> int:
    farm = builder_here().farm
    sent = farm.redrive(farm.queue.take(args.id))
    if args.json:
        print_json({**sent.status.facts(), "new": sent.new})
    else:
        print(f"{sent.status.id}: sent; `fearless build wait {sent.status.id}`")
    return 0


def _purge(args: argparse.Namespace) -> int:
    queue = builder_here().farm.queue
    what = f"dead letter {args.id}" if args.id else f"every letter in {queue.dead_name}"
    if not args.yes:
        if args.json or not sys.stdin.isatty():
            raise Refused(f"this deletes {what}: add --yes")
        print(f"This deletes {what}. Type `purge` to go on: ", end="", flush=True)
        if sys.stdin.readline().strip() != "purge":
            raise Refused("nothing was deleted")
    letters = [queue.take(args.id)] if args.id else queue.take_all()
    for letter in letters:
        queue.forget(letter)
    print_json({"deleted": len(letters)}) if args.json else print(f"deleted {len(letters)}")
    return 0


def _letter(letter: Dead) -> dict[str, Any]:
    from fearless.builtin.farm.message import named
    from fearless.procedure import when

    return {
        "id": letter.id,
        "at": when(letter.since),
        "build": named(letter.body),
        "reason": letter.reason,
        "message": letter.body,
    }
