"""A worker that only pretends: what a unit does is its table's name, what was done is a file."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from fearless.data.job import Endpoint, Job
from fearless.data.membership import LeaseLost
from fearless.data.settings import Settings
from fearless.data.unit import Unit
from fearless.errors import Refused

HIRE = "tests.builtin.engines.stub:hire"


class Stub:
    def __init__(self, job: Job) -> None:
        self.log = Path(job.arguments["log"])
        self.job = job
        self.stopping = threading.Event()

    def __enter__(self) -> Stub:
        self.note("join", threading.current_thread().name)
        if self.job.run == "broken":
            raise Refused("nobody can join")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.note("leave")

    def stop(self) -> None:
        self.stopping.set()

    def perform(self, unit: Unit) -> bool:
        self.note("begin", unit.table, unit.part)
        finished = bool(getattr(self, unit.table)(unit))
        self.note("end", unit.table, unit.part, finished)
        return finished

    def quick(self, unit: Unit) -> bool:
        return True

    def slow(self, unit: Unit) -> bool:
        return not self.stopping.wait(unit.seconds)

    def deaf(self, unit: Unit) -> bool:
        time.sleep(unit.seconds)
        return False

    def deadly(self, unit: Unit) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    def refused(self, unit: Unit) -> bool:
        raise Refused("table orders is not ours")

    def defect(self, unit: Unit) -> bool:
        return bool(1 / 0)

    def lost(self, unit: Unit) -> bool:
        if sum("lost" in line for line in self.log.read_text().splitlines()) == 1:
            raise LeaseLost("given up")
        return True

    def prints(self, unit: Unit) -> bool:
        print("a line on stdout", sys.stdin.read())
        os.write(1, b"raw bytes\n")
        return True

    def key(self, unit: Unit) -> bool:
        self.note("key", self.job.credentials["source"].get_frozen_credentials().token)
        return True

    def note(self, *words: object) -> None:
        with self.log.open("a") as log:
            log.write(" ".join(map(str, (os.getpid(), *words))) + "\n")


def hire(job: Job) -> Stub:
    return Stub(job)


def a_job(log: Path, run: str = "r1") -> Job:
    nowhere = Endpoint("http://127.0.0.1:1", "us-east-1")
    log.touch()
    return Job(run, "state", (), Settings(), nowhere, nowhere, nowhere, "", {"log": str(log)})


def lines(log: Path) -> list[list[str]]:
    """What was noted: pid, word, and so on."""
    return [line.split() for line in log.read_text().splitlines()]
