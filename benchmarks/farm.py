"""Time from sending a build to its start on an idle worker of the build farm.

Against it what SQS alone takes on the same queue service: one process sends, another waits in a
long poll, nothing is recorded. The rest is what Fearless writes down: the build's row, the claim.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import median, parser, show, spread
from benchmarks.harness import emulator
from fearless.builtin.farm.farm import Farm
from fearless.builtin.farm.message import Options, Order
from fearless.builtin.farm.runner import Event
from fearless.builtin.farm.worker import Settings, Worker
from fearless.testing.emulator import Emulator

OURS = "Fearless"
BASE = "SQS alone"
LATENCY = "send to start ms"
DEADLINE = 60.0


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--builds", type=int, default=30, help="builds sent, one after the other")
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = options(arguments)
    builds = 3 if asked.quick else asked.builds
    with emulator() as found:
        with worker(found) as farm:
            ours = [ordered(farm) for _ in range(builds)]
        base = plain(found, builds)
    rows = [
        {"contender": name, "builds": builds, **spread(LATENCY, [1000 * s for s in seconds])}
        for name, seconds in ((OURS, ours), (BASE, base))
    ]
    show("farm", rows, {"ratio": median(ours) / median(base)}, asked.json)


class AtOnce:
    """A runner whose builds are over when they begin."""

    def start(self, order: Order, url: str, slot: Path) -> AtOnce:
        """Begin."""
        return self

    def event(self, timeout: float) -> Event | None:
        """The only thing that is ever said."""
        return {"failed": "nothing is built here", "again": False}

    def kill(self) -> None:
        """Nothing."""


def work(url: str, name: str) -> None:
    """A worker, in a process of its own, until SIGTERM."""
    farm = a_farm(Emulator(url), name)
    settings = Settings("w1", {"shop": "/nowhere"}, Path())
    made = Worker(farm.queue, farm.builds, AtOnce(), settings, lambda _: None)
    signal.signal(signal.SIGTERM, lambda *_: made.stop())
    made.run()


@contextmanager
def worker(found: Emulator) -> Iterator[Farm]:
    """A farm with a worker."""
    name = f"farm-{uuid.uuid4().hex[:8]}"
    farm = a_farm(found, name)
    process = multiprocessing.get_context("spawn").Process(target=work, args=(found.url, name))
    process.start()
    try:
        _until(farm.builds.workers, "a worker")
        yield farm
    finally:
        process.terminate()
        process.join(DEADLINE)


def a_farm(found: Emulator, name: str) -> Farm:
    """The farm of that name."""
    return Farm(found.client("sqs"), found.client("dynamodb"), name)


def ordered(farm: Farm) -> float:
    """Seconds from before it was sent to when its row says that it was begun."""
    _until(lambda: farm.queue.depth().in_flight == 0, "an idle worker")
    began = time.time()
    sent = farm.send(Options(app="shop"), "shop", "5" * 40, "main", "ann@laptop", again=True)
    id = sent.status.id
    _until(lambda: farm.builds.need(id).over, "the end of a build")
    return farm.builds.need(id).begun - began


def plain(found: Emulator, builds: int) -> list[float]:
    """Seconds from before a message was sent to when a long poll has it."""
    sqs = found.client("sqs")
    name = f"plain-{uuid.uuid4().hex[:8]}.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    came: list[float] = []

    def receive(waiting: threading.Event) -> None:
        client = found.client("sqs")
        while len(came) < builds:
            waiting.set()
            answer = client.receive_message(QueueUrl=url, WaitTimeSeconds=5)
            for message in answer.get("Messages", ()):
                came.append(time.time())
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    seconds = []
    waiting = threading.Event()
    thread = threading.Thread(target=receive, args=(waiting,), daemon=True)
    thread.start()
    for number in range(builds):
        waiting.wait(DEADLINE)
        waiting.clear()
        began = time.time()
        fifo = {"MessageGroupId": "shop", "MessageDeduplicationId": str(number)}
        sqs.send_message(QueueUrl=url, MessageBody="build", **fifo)
        _until(lambda sent=number: len(came) > sent, "a message")  # type: ignore[misc]
        seconds.append(came[number] - began)
    thread.join(DEADLINE)
    return seconds


def _until(done: Any, what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} does not come")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
