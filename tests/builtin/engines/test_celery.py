"""The engine of many machines: real `fearless worker`s on an SQS queue, some of whom are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fearless.builtin.engines.celery import Celery, CeleryCrew
from fearless.builtin.engines.processes import Processes
from fearless.data.unit import Unit
from fearless.errors import ConfigError, FearlessError
from fearless.testing import contracts
from fearless.testing.contracts import engine_work
from fearless.testing.contracts.engines import ITEMS, SETTINGS, Enough, Leaving, Work
from fearless.testing.emulator import Emulator
from tests.builtin.clouds import EmulatorCloud

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
FILE = str(engine_work.__file__)


class Workers:
    """`fearless worker` processes on a queue of their own."""

    def __init__(self, emulator: Emulator, directory: Path) -> None:
        self.emulator = emulator
        self.sqs = emulator.client("sqs")
        self.queue = f"work-{uuid.uuid4().hex[:8]}"
        attributes = {"VisibilityTimeout": "9"}
        self.url = self.sqs.create_queue(QueueName=self.queue, Attributes=attributes)["QueueUrl"]
        self.log = directory / "workers.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        env = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.emulator.url,
        }
        arguments = ["worker", "--queue", self.queue, "--threads", "2", "--processes", "1", *more]
        code = "import sys; from fearless.cli import main; sys.exit(main())"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                env={**os.environ, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def started(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while self.log.read_text().count("waiting for work") < count:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def end(self) -> list[int]:
        for process in self.processes:
            process.terminate()
        return [process.wait(20) for process in self.processes]


@pytest.fixture
def workers(emulator: Emulator, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(emulator, tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
    made.sqs.delete_queue(QueueUrl=made.url)


@pytest.fixture
def engine(emulator: Emulator, workers: Workers) -> Celery:
    return Celery(EmulatorCloud(emulator), workers.queue, unit_seconds=4)  # type: ignore[arg-type]


class TestCelery(contracts.CopyEngineContract):
    @pytest.fixture
    def provider(self, engine: Celery, workers: Workers) -> Celery:
        for _ in range(2):
            workers.start("--transforms", FILE)
        workers.started(2)
        return engine


@pytest.fixture
def work(emulator: Emulator, report: Any) -> Iterator[Work]:
    made = Work(emulator, report, SETTINGS)
    yield made
    made.delete()


def test_one_is_told_to_end_in_the_middle_and_another_goes_on(
    engine: Celery, workers: Workers, work: Work
) -> None:
    for _ in range(2):
        workers.start("--transforms", FILE)
    workers.started(2)
    pids = {process.pid for process in workers.processes}

    def end_one() -> None:
        while True:
            busy = {row["owner"] for row in work.rows() if row["owner"] and int(row["read"])}
            found = [row for row in work.workers() if row["owner"] in busy]
            if found:
                assert int(found[0]["pid"]) in pids
                os.kill(int(found[0]["pid"]), signal.SIGTERM)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=end_one, daemon=True)
    thread.start()
    assert work.migration(engine).copy().read == ITEMS
    thread.join()
    assert work.equal()
    assert workers.end() == [0, 0], workers.log.read_text()
    assert work.workers() == [], "who is told to end leaves in good order"


def test_a_message_is_small_and_has_no_secret(
    engine: Celery, workers: Workers, work: Work, report: Any
) -> None:
    with engine.crew(work.job, report) as crew:
        crew.offer([Unit("copy", "orders", "3")])
        crew.offer([Unit("copy", "orders", "3")])
        rows = work.state.rows(work.migration(None)._reader, 0, "CREW#")
        assert [row["job"] for row in rows] == [work.job.to_json()]
        answer = workers.sqs.receive_message(QueueUrl=workers.url, MaxNumberOfMessages=10)
        (message,) = answer["Messages"]
    text = b64decode(message["Body"]).decode()
    ((order,), _, _) = json.loads(b64decode(json.loads(text)["body"]))
    assert order == {
        "unit": {"kind": "copy", "table": "orders", "part": "3", "seconds": 30.0, "live": False},
        "state": work.job.state_table,
        "run": work.job.run,
        "crew": rows[0]["sk"].removeprefix("CREW#"),
    }
    assert len(json.dumps(order)) < 250
    assert len(text) < 2000
    assert work.state.rows(work.migration(None)._reader, 0, "CREW#") == []


class Bystander:
    """What a crew sends, without any queue, and a clock that can be put forward."""

    def __init__(self, work: Work, report: Any, **more: Any) -> None:
        self.now = 100.0
        self.sent: list[str] = []
        self.crew = CeleryCrew(
            work.job,
            report,
            lambda order: self.sent.append(order["unit"]["part"]),
            visibility=60,
            longest=20,
            clock=lambda: self.now,
            sleep=self.sleep,
            **more,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def offer(self, *parts: int, after: float = 0) -> list[str]:
        self.now += after
        self.sent.clear()
        self.crew.offer([Unit("copy", "orders", str(part)) for part in parts])
        return self.sent


def test_what_is_lost_is_sent_again_and_what_moves_is_not(work: Work, report: Any) -> None:
    with pytest.raises(Enough):
        work.migration(Leaving(Processes(0, threads=2), work)).copy()
    caller = work.migration(None)._reader
    row = next(row for row in work.rows() if row["read"] and not row["done"])
    number = int(row["segment"])
    other = next(n for n in range(8) if n not in {int(r["segment"]) for r in work.rows()})
    bystander = Bystander(work, report, backlog=2)

    def change(claim: int, owner: str) -> None:
        work.state.put(caller, 1, claim, row["sk"], {**row, "owner": owner})

    with bystander.crew:
        assert bystander.offer(number, other, 99) == [str(number), str(other)]
        assert bystander.offer(number, other, 99, after=30) == []
        claim = (int(row["v"]) >> 40) + 1
        for _ in range(5):
            change(claim, "somebody")
            assert bystander.offer(number, after=7) == [], "it moves"
        assert bystander.offer(number, after=9) == [str(number)], "it does not, for a lease"
        change(claim, "")
        assert bystander.offer(number, after=1) == [str(number)], "let go before it was done"
        assert bystander.offer(number, after=50) == []
        assert bystander.offer(number, after=12) == [str(number)], "the message was lost"


def test_leaving_does_not_wait_for_the_dead_for_ever(work: Work, report: Any) -> None:
    with pytest.raises(Enough):
        work.migration(Leaving(Processes(0, threads=2), work)).copy()
    row = next(row for row in work.rows() if not row["done"])
    claim = (int(row["v"]) >> 40) + 1
    work.state.put(work.migration(None)._reader, 1, claim, row["sk"], {**row, "owner": "somebody"})
    bystander = Bystander(work, report)
    with bystander.crew:
        bystander.offer(0)
        left = bystander.now
    assert 20 <= bystander.now - left < 25
    assert "still in the hands of workers that may have died" in report.lines[-1]


def test_a_row_does_not_choose_what_code_runs(engine: Celery, workers: Workers, work: Work) -> None:
    workers.start()
    workers.started(1)
    with pytest.raises(FearlessError, match=r"on anybody's word: start it with --transforms FILE"):
        work.migration(engine).copy()


def test_queues_that_do_not_fit(emulator: Emulator, workers: Workers, work: Work) -> None:
    cloud: Any = EmulatorCloud(emulator)
    with pytest.raises(ConfigError, match=r"there is no SQS queue 'nowhere'.*create it"):
        Celery(cloud, "nowhere").crew(work.job, work.report)
    with pytest.raises(ConfigError, match=r"visibility timeout is 9 s .* more than 120 s"):
        Celery(cloud, workers.url).crew(work.job, work.report)


def test_a_worker_that_cannot_work_says_why(workers: Workers) -> None:
    assert workers.start("--threads", "0").wait(20) == 2
    assert "--threads 0: it must be at least 1" in workers.log.read_text()
    assert workers.start("--queue", "nowhere", "--processes", "2").wait(30) == 2
    assert "there is no SQS queue 'nowhere'" in workers.log.read_text()


def test_several_processes_and_their_end(engine: Celery, workers: Workers, work: Work) -> None:
    parent = workers.start("--processes", "2", "--transforms", FILE)
    workers.started(2)
    assert work.migration(engine).copy().read == ITEMS
    pids = {int(row["pid"]) for row in work.workers()} - {parent.pid}
    assert workers.end() == [0], workers.log.read_text()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
