"""`fearless local traffic`: customers who read and write, and check that nothing is lost.

The exit code is 0 only when no request failed and every acknowledged write is still there.
Only one traffic at a time can tell: it must be the only one to change prices.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from fearless.errors import ConfigError
from fearless.local.traffic.load import Traffic
from fearless.local.traffic.tally import Tally

__all__ = ["Traffic", "add_arguments", "run"]

LINE_SECONDS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fearless local traffic`."""
    parser.add_argument(
        "--seconds", type=_positive, metavar="N", help="stop after so long (default: on Ctrl-C)"
    )
    parser.add_argument(
        "--rate", type=_positive, default=40.0, metavar="N", help="requests a second (default 40)"
    )
    parser.add_argument(
        "--workers", type=_crew, default=8, metavar="N", help="customers at a time (default 8)"
    )
    parser.add_argument(
        "--verify-interval",
        type=_positive,
        metavar="S",
        help="also read every acknowledged write back every S seconds (default: at the end)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a JSON report")
    parser.add_argument("--seed", type=int, default=1, help="what the customers do follows from it")


def run(args: argparse.Namespace, url: str, out: TextIO = sys.stdout) -> int:
    """Send traffic to `url` until SIGINT, SIGTERM or `--seconds`; 0 if nothing failed or was lost.

    Raises Refused when the URL is not on this machine, FearlessError when no shop answers.
    """
    if args.report and not args.report.absolute().parent.is_dir():
        raise ConfigError(f"--report {args.report}: there is no directory {args.report.parent}")
    traffic = Traffic(url, args.rate, args.workers, args.seed, args.verify_interval)
    with _stopped_by_signals(traffic.stop):
        report = traffic.run(args.seconds, _screen(out))
    if args.report:
        args.report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    out.write(summary(report))
    out.flush()
    return 0 if traffic.passed else 1


def summary(report: dict[str, Any]) -> str:
    """The report for people: what was sent, what went wrong, what was waited for."""
    paused, latency = report["paused"], report["latency_ms"]
    lines = [
        f"{report['requests']:,} requests in {report['seconds']:g} s: {report['reads']:,} reads, "
        f"{report['writes']:,} writes; median {latency['p50']:g} ms, 99% under "
        f"{latency['p99']:g} ms, slowest {latency['max']:g} ms",
        f"acknowledged: {_named(report['acknowledged'])}; {report['verified']:,} read back",
    ]
    if paused["count"]:
        lines.append(
            f"writes paused: {paused['count']:,}, longest {paused['longest_ms']} ms, from "
            f"{paused['first']} to {paused['last']}"
            + (f", {paused['abandoned']} given up" if paused["abandoned"] else "")
        )
    if report["reconnects"]:
        lines.append(f"kept connections opened again: {report['reconnects']:,}")
    if report["stale"]:
        lines.append(f"reads that did not show an acknowledged write: {report['stale']:,}")
    if report["uncertain"]:
        lines.append(f"writes nobody can tell the outcome of: {report['uncertain']:,}")
    lines += [f"release {name} first answered at {at}" for name, at in report["releases"].items()]
    lines += [f"failed  {_event(failure)}" for failure in report["failures"][:20]]
    lines += [f"LOST    {_event(lost)}" for lost in report["lost_writes"][:20]]
    lines.append(f"{report['failed']:,} failed requests, {report['lost']:,} lost writes")
    return "\n".join(lines) + "\n"


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items()) or "nothing"


def _event(event: dict[str, str]) -> str:
    return f"{event['at']} {event['method']} {event['path']}: {event['reason']}"


def _screen(out: TextIO) -> Callable[[Tally], None]:
    """One line every 5 s; on a terminal the same line, anew every second."""
    live = out.isatty()
    calls = 0

    def show(tally: Tally) -> None:
        nonlocal calls
        calls += 1
        keep = calls % LINE_SECONDS == 0
        if live:
            out.write(f"\r\x1b[K{tally.line()}" + ("\n" if keep else ""))
        elif keep:
            out.write(tally.line() + "\n")
        out.flush()

    return show


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop`; a second one does what it always does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def _crew(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 200:
        raise argparse.ArgumentTypeError("must be from 1 to 200")
    return value
