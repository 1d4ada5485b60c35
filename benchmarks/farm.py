"""Time from sending a build to its start on an idle worker of the build farm.

Against it what SQS alone takes on the same queue service: one process sends, another waits in a
long poll, nothing is recorded. The rest is what Fearless writes down: the build's row, the claim.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import median, parser, show, spread
from benchmarks.harness import emulator, environment
from fearless.builtin.farm.farm import Farm
from fearless.builtin.farm.message import Options
from fearless.testing.emulator import Emulator

OURS = "Fearless"
BASE = "SQS alone"
LATENCY = "send to start ms"
DEADLINE = 60.0
WORKER = "import sys; from fearless.cli import main; sys.exit(main())"
CONFIG = '[app]\nname = "shop"\n[cloud]\nuse = "aws"\n[registry]\nuse = "local"\n'


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
        with worker(found) as (farm, sha):
            ours = [ordered(farm, sha) for _ in range(builds)]
        base = plain(found, builds)
    rows = [
        {"contender": name, "builds": builds, **spread(LATENCY, [1000 * s for s in seconds])}
        for name, seconds in ((OURS, ours), (BASE, base))
    ]
    show("farm", rows, {"ratio": median(ours) / median(base)}, asked.json)


@contextmanager
def worker(found: Emulator) -> Iterator[tuple[Farm, str]]:
    """A real worker on its own farm, and a commit that it fails to build at once."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "release.toml").write_text(CONFIG)
        for argv in (
            ("init", "-q"),
            ("add", "release.toml"),
            ("-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "-qm", "Nothing"),
        ):
            subprocess.run(["git", "-C", directory, *argv], check=True)
        head = ["git", "-C", directory, "rev-parse", "HEAD"]
        sha = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, "build", "worker"],
            cwd=root,
            env={**environment(), "AWS_ENDPOINT_URL": found.url, "AWS_REGION": "us-east-1"},
            stdout=subprocess.DEVNULL,
        )
        farm = Farm(found.client("sqs"), found.client("dynamodb"), "shop-builds")
        try:
            _until(lambda: bool(farm.builds.workers()), "a worker")
            yield farm, sha
        finally:
            process.terminate()
            process.wait(DEADLINE)


def ordered(farm: Farm, sha: str) -> float:
    """Seconds from before it was sent to when its row says that it was begun."""
    _until(lambda: farm.queue.depth().in_flight == 0, "an idle worker")
    began = time.time()
    name = f"shop-{os.getpid()}"
    id = farm.send(Options(app="shop"), "shop", sha, "HEAD", name, again=True).status.id
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
        time.sleep(0.01)


if __name__ == "__main__":
    main()
