"""Engines of real processes that are killed, stopped and lied to, and transforms to survive it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from typing import Any

from botocore.credentials import Credentials

from fearless.builtin.engines.hands import Child, Staff
from fearless.builtin.engines.processes import ProcessCrew
from fearless.data.hire import connect
from fearless.data.items import Item
from fearless.data.job import Clients, Endpoint, Job
from fearless.data.machinery import Machinery
from fearless.data.settings import Settings
from fearless.data.worker import Worker
from fearless.interfaces import Report, Transform
from tests.data.worlds import TRANSFORMS, Flaky, Tables

SMALL = Settings(
    segments=8, zombie=6.0, skew=2.0, poll=0.05, tip_polls=2, lease=3.0, drain=60.0, page=10,
    window=20,
)  # fmt: skip
"""Small pages and windows, so that there is much to interrupt; leases that a stop outlasts."""


def up(item: Item) -> Item | None:
    """The new release says `name`, and knows neither `legacy` nor what is obsolete."""
    if item.get("obsolete"):
        return None
    if "title" in item:
        item.rename("title", "name")
    item.pop("legacy", None)
    return item


def down(item: Item, old: Item | None) -> Item:
    """What only the old release knows stays as it was."""
    if "name" in item:
        item.rename("name", "title")
    if old is not None and "legacy" in old:
        item["legacy"] = old["legacy"]
    return item


def fork(item: Item) -> list[Item]:
    """A child for each tag."""
    tags = item.pop("tags", ())
    children = [Item.of({"pk": item["pk"], "sk": f"{item['sk']}#{tag}"}) for tag in sorted(tags)]
    return [item, *children]


def trunk(key: Item) -> Item:
    """Whose child it is."""
    return Item.of({"pk": key["pk"], "sk": key["sk"].split("#")[0]})


def join(items: list[Item], old: Item | None) -> Item | None:
    """The item with its tags; children alone are nothing."""
    item = items[0]
    if "#" in item["sk"]:
        return None
    if len(items) > 1:
        item["tags"] = {child["sk"].split("#")[1] for child in items[1:]}
    return item


BOTH_WAYS = (
    Transform("rename", ("a",), up, down=down),
    Transform("fork", ("b",), fork, "owned", trunk, down=join, prefix=lambda key: str(key["sk"])),
)
SETS = {"one way": TRANSFORMS, "both ways": BOTH_WAYS}


def load(name: str) -> tuple[Transform, ...]:
    """What a worker is told to call for its transforms."""
    return SETS[name]


def job_of(tables: Tables, settings: Settings, name: str = "one way", back: bool = False) -> Job:
    """For workers in other processes."""
    place = Endpoint(tables.emulator.url, "us-east-1")
    keys = Credentials("test", "test")
    return Job(
        "run",
        tables.state,
        tuple(tables.pairs(back)),
        settings,
        place,
        place,
        place,
        "tests.data.chaos:load",
        {"name": name},
        back,
        dict.fromkeys(("source", "target", "state"), keys),
    )


def flaky_worker(job: Job) -> Worker:
    """A worker on whose clients things go wrong, those of the state table among them."""
    clients, rng = connect(job), random.Random()
    source, streams, target, state = (
        Flaky(client, rng.getrandbits(32), 0.02, throttles=1)
        for client in (clients.source, clients.streams, clients.target, clients.state)
    )
    flaky = Clients(source, streams, target, state)
    return Worker(job, job.load(), flaky, Machinery(wall=clients.state.clock))


class Watched:
    """The engine of one machine, which tells what processes it has now; `hired` is their sum."""

    def __init__(self, hire: str = "fearless.data.hire:worker", processes: int = 2) -> None:
        self._hire = hire
        self._staff = Staff(processes, threads=3, silence=20.0, grace=20.0, attempts=1000)
        self._crew: ProcessCrew | None = None

    @property
    def pids(self) -> list[int]:
        """Of the workers that are at work: three that die while they start are a defect."""
        hands = list(self._crew._hands) if self._crew is not None else []
        return [hand.pid for hand in hands if isinstance(hand, Child) and hand.ready]

    def crew(self, job: Job, report: Report) -> ProcessCrew:
        """Workers for the job."""
        self._crew = ProcessCrew(job, report, self._staff, self._hire)
        return self._crew


class Trouble(threading.Thread):
    """Kills a worker process now and then, or stops one for some seconds, until told to end.

    `most` times only: who is killed faster than it starts, on a slow machine, never gets anywhere.
    """

    def __init__(
        self,
        engine: Watched,
        seed: int,
        every: float = 0.8,
        stop: tuple[float, float] | None = None,
        most: int = 8,
    ) -> None:
        super().__init__(name="trouble", daemon=True)
        self._most = most
        self._engine = engine
        self._rng = random.Random(seed)
        self._every = every
        self._stop_for = stop
        self._stopping = threading.Event()
        self.killed = 0
        self.stopped = 0

    def run(self) -> None:
        """Choose one of those at work, again and again."""
        while not self._stopping.wait(self._rng.uniform(0.2, 1.8) * self._every):
            while not (pids := self._engine.pids) and not self._stopping.wait(0.02):
                pass
            if not pids or self.killed + self.stopped >= self._most:
                continue
            pid = self._rng.choice(pids)
            with contextlib.suppress(ProcessLookupError):
                if self._stop_for is not None and self._rng.random() < 0.6:
                    self._pause(pid, self._rng.uniform(*self._stop_for))
                else:
                    os.kill(pid, signal.SIGKILL)
                    self.killed += 1

    def _pause(self, pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        self.stopped += 1
        self._stopping.wait(seconds)
        os.kill(pid, signal.SIGCONT)

    def __enter__(self) -> Trouble:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(30)


def until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.02)
