"""A worker in a process of its own: orders come by standard input, answers go to standard output.

It ends when its input ends, however the process at the other end died. What transforms print goes
to standard error, and nothing they read is an order. Started by `python -m`, it imports no more
than performing a unit takes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, BinaryIO

from fearless.data.job import Job
from fearless.data.pipe import Keys, encode, named
from fearless.data.shift import Shift

BEAT = 1.0
"""Seconds between signs of life."""


class Answers:
    """Lines to whoever gave the orders; into the void when that one is gone. For any thread."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lock = threading.Lock()

    def __call__(self, message: dict[str, Any]) -> None:
        """Say it."""
        line = encode(message)
        with self._lock, contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._file, line) :]


class Tolerant(io.RawIOBase):
    """Standard error that may be gone: printing to nobody must not look like a failed item."""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Print it, if anybody is there."""
        with contextlib.suppress(OSError):
            os.write(2, data)
        return len(data)


def main() -> int:
    """Work until told to leave; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, answers = os.fdopen(os.dup(0), "rb"), Answers(os.dup(1))
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  nothing but the number of the file
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    output = io.TextIOWrapper(
        io.BufferedWriter(Tolerant()), "utf-8", "backslashreplace", line_buffering=True
    )
    sys.stdout = sys.stderr = output
    return serve(orders, answers)


def serve(orders: BinaryIO, answers: Answers) -> int:
    """Do as the lines of `orders` say."""
    line = orders.readline()
    if not line:
        return 0
    hello = json.loads(line)
    sys.path[:] = hello["path"]
    threading.Thread(target=_beat, args=(answers,), name="beat", daemon=True).start()
    keys = {side: Keys(*values) for side, values in hello["credentials"].items()}
    job = Job.of_json(hello["job"], keys)
    shift = Shift(lambda job: named(hello["hire"])(job), job, hello["threads"], answers)

    def leave(_: int, frame: FrameType | None) -> None:  # noqa: ARG001
        shift.leave()

    signal.signal(signal.SIGTERM, leave)
    reader = threading.Thread(target=_obey, args=(orders, shift, keys), name="orders", daemon=True)
    reader.start()
    return 0 if shift.run(float(hello["grace"])) else 1


def _obey(orders: BinaryIO, shift: Shift, keys: dict[str, Keys]) -> None:
    from fearless.data.unit import Unit

    with contextlib.suppress(OSError, ValueError):
        for line in orders:
            order = json.loads(line)
            if "unit" in order:
                shift.give(order["number"], Unit(**order["unit"]))
            elif "credentials" in order:
                for side, values in order["credentials"].items():
                    keys[side].renew(*values)
            else:
                break
    shift.leave()


def _beat(answers: Answers) -> None:
    while True:
        answers({"beat": True})
        time.sleep(BEAT)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
