"""A farm on the emulator for tests, builds that only pretend, and a repository to build."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fearless.builtin.farm.farm import Farm
from fearless.builtin.farm.message import Options
from fearless.builtin.farm.runner import Event
from fearless.builtin.farm.worker import Settings, Worker
from fearless.testing.emulator import Emulator
from tests.images import SHA

OPTIONS = Options(app="shop", folder=".", source="app")
IMAGE = {
    "repository": "shop",
    "tag": SHA,
    "digest": "sha256:" + "d" * 64,
    "image_id": "sha256:" + "1" * 64,
    "source": "registry:127.0.0.1:5000/shop@sha256:" + "d" * 64,
}
DONE = {"image": IMAGE}
PATIENCE = 20.0


def a_farm(emulator: Emulator, **more: Any) -> Farm:
    """A farm of the test's own."""
    name = f"shop-{uuid.uuid4().hex[:8]}"
    return Farm(emulator.client("sqs"), emulator.client("dynamodb"), name, **more)


def send(farm: Farm, sha: str = SHA, repository: str = "shop", **more: Any) -> str:
    """Order a build; its id."""
    return farm.send(OPTIONS, repository, sha, "main", "ann@laptop", **more).status.id


def until(done: Callable[[], Any], what: str = "it") -> Any:
    """What `done` answers once that is true. Fails after a while."""
    deadline = time.monotonic() + PATIENCE
    while not (found := done()):
        assert time.monotonic() < deadline, f"{what} does not happen"
        time.sleep(0.02)
    return found


class Pretence:
    """A build that says some events and then nothing, until it is killed."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = list(events)
        self.killed = threading.Event()

    def event(self, timeout: float) -> Event | None:
        if self.events:
            return self.events.pop(0)
        self.killed.wait(min(timeout, 0.02))
        return None

    def kill(self) -> None:
        self.killed.set()


class Pretender:
    """A runner whose builds go as the test says: one list of events for each, the last for all."""

    def __init__(self, *plans: Sequence[Event]) -> None:
        self.plans = list(plans)
        self.started: list[Pretence] = []
        self.orders: list[tuple[str, str, Path]] = []

    def start(self, order: Any, url: str, slot: Path) -> Pretence:
        plan = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        self.orders.append((order.id, url, slot))
        self.started.append(Pretence(plan))
        return self.started[-1]


@contextmanager
def working(
    farm: Farm, runner: Any, tmp_path: Path, name: str = "w1", **settings: Any
) -> Iterator[tuple[Worker, list[str]]]:
    """A worker in a thread, told to end at the end, and what it says."""
    said: list[str] = []
    usual: dict[str, Any] = {
        "name": name,
        "repositories": {"shop": "/nowhere"},
        "directory": tmp_path / name,
        "visibility": 6,
        "poll": 1,
    }
    worker = Worker(farm.queue, farm.builds, runner, Settings(**{**usual, **settings}), said.append)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield worker, said
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive(), said
        assert not failures, failures


class Repository:
    """A git repository with files to build."""

    def __init__(self, root: Path, files: dict[str, str]) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.sha = self.commit(files)

    def commit(self, files: dict[str, str]) -> str:
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "A commit")
        self.sha = self.git("rev-parse", "HEAD")
        return self.sha

    def git(self, *argv: str) -> str:
        identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
        done = subprocess.run(
            ["git", "-C", str(self.root), *identity, *argv], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
