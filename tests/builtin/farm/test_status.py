"""A build's row: exactly one worker finishes it, whoever comes late or at the same time."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest

from fearless.builtin.farm.farm import Farm
from fearless.builtin.farm.log import CHUNK, LIMIT, TAIL, LogReader, LogWriter
from fearless.builtin.farm.message import parse
from fearless.builtin.farm.status import Builds, Lost, WorkerRow
from fearless.errors import FearlessError
from fearless.interfaces import Image
from fearless.testing.emulator import Emulator
from tests.builtin.farm.given import IMAGE, a_farm, send
from tests.images import SHA

BUILT = Image(**IMAGE)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def farm(emulator: Emulator, clock: Clock) -> Farm:
    return a_farm(emulator, clock=clock)


@pytest.fixture
def builds(farm: Farm) -> Builds:
    return farm.builds


def begin(farm: Farm, worker: str = "w1", id: str = ""):  # type: ignore[no-untyped-def]
    found = farm.builds.need(id or send(farm))
    return farm.builds.begin(parse(found.message), worker)


def test_from_sent_to_succeeded(farm: Farm, builds: Builds, clock: Clock) -> None:
    id = send(farm)
    status = builds.need(id)
    assert (status.state, status.requested_by, status.queued) == ("queued", "ann@laptop", 1000.0)
    assert (status.over, status.seconds) == (False, None)
    clock.now = 1005.0
    held = begin(farm, id=id)
    assert (held.state, held.worker, held.attempts, held.begun) == ("running", "w1", 1, 1005.0)
    clock.now = 1011.5
    builds.beat(held)
    assert builds.need(id).heard == 1011.5
    builds.succeed(held, BUILT)
    status = builds.need(id)
    assert (status.state, status.digest, status.seconds) == ("succeeded", BUILT.digest, 6.5)
    assert status.image == BUILT
    assert "claim" not in status.facts() and "message" not in status.facts()
    assert builds.begin(parse(status.message), "w2") is None, "it is over"
    assert builds.builds() == [status]


def test_who_had_it_before_changes_nothing(farm: Farm, builds: Builds) -> None:
    first = begin(farm)
    second = begin(farm, "w2", first.id)
    assert (second.attempts, second.worker) == (2, "w2")
    for late in (
        lambda: builds.beat(first),
        lambda: builds.succeed(first, replace(BUILT, digest="sha256:" + "e" * 64)),
        lambda: builds.fail(first, "late"),
        lambda: builds.let_go(first, "late"),
    ):
        with pytest.raises(Lost, match="is running in the hands of w2"):
            late()
    builds.succeed(second, BUILT)
    for late in (lambda: builds.succeed(first, BUILT), lambda: builds.fail(second, "twice")):
        with pytest.raises(Lost, match="is succeeded"):
            late()
    assert builds.need(first.id).digest == BUILT.digest


def test_of_many_that_finish_at_once_one_does(farm: Farm, builds: Builds) -> None:
    id = send(farm)
    order = parse(builds.need(id).message)
    finished: list[str] = []

    def work(number: int) -> None:
        rng = random.Random(number)
        held = builds.begin(order, f"w{number}")
        while held is not None:
            try:
                if rng.random() < 0.3:
                    builds.succeed(held, replace(BUILT, digest=f"sha256:{number:064}"))
                    finished.append(f"sha256:{number:064}")
                    return
                builds.beat(held)
            except Lost:
                held = builds.begin(order, f"w{number}") if rng.random() < 0.5 else None

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert finished == [builds.need(id).digest]


def test_what_is_handed_back_unhurt_is_no_attempt(farm: Farm, builds: Builds) -> None:
    held = begin(farm)
    builds.let_go(held, "")
    assert builds.need(held.id).attempts == 0
    held = begin(farm, "w2", held.id)
    builds.let_go(held, "the registry is down")
    status = builds.need(held.id)
    assert (status.state, status.attempts, status.error) == ("queued", 1, "the registry is down")
    builds.reject(held.id, "nobody knows its repository")
    assert builds.need(held.id).state == "failed"
    builds.reject("0000000000-00000000.1", "there is none")


def test_a_build_nobody_knows(builds: Builds) -> None:
    assert builds.builds() == []
    with pytest.raises(FearlessError, match=r"knows no build 'x'.*fearless build queue"):
        builds.need("x")


def test_old_rows_go_by_themselves(farm: Farm, builds: Builds, clock: Clock) -> None:
    id = send(farm)
    table = {"TableName": builds.table}
    ttl = builds.client.describe_time_to_live(**table)["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "expires")
    key = {"pk": {"S": "BUILD"}, "sk": {"S": id}}
    item = builds.client.get_item(**table, Key=key)["Item"]
    assert item["expires"] == {"N": str(1000 + 30 * 86400)}


def test_workers_are_alive_while_they_say_so(builds: Builds, clock: Clock) -> None:
    builds.report(WorkerRow("w1", 2, ("shop", "blog"), 1000.0, 1000.0, 10.0))
    assert [(w.name, w.repositories) for w in builds.workers()] == [("w1", ("shop", "blog"))]
    clock.now += 59
    assert builds.workers()
    clock.now += 2
    assert builds.workers() == []
    builds.report(WorkerRow("w1", 2, ("shop",), 1000.0, clock.now, 10.0))
    builds.leave("w1")
    builds.leave("w1")
    assert builds.workers() == []


# ------------------------------------------------------------------ logs


def test_a_log_is_read_as_it_comes(farm: Farm, builds: Builds) -> None:
    id = send(farm)
    reader = LogReader(builds, id)
    assert reader.lines() == []
    first = LogWriter(builds, id, "001")
    first.add("Step 1/2 : FROM x\n\x1b[31mred\x1b[0m\n")
    first.flush()
    assert reader.lines() == ["Step 1/2 : FROM x", " [31mred [0m"]
    first.flush()
    assert reader.lines() == []
    second = LogWriter(builds, id, "002")
    second.add("another worker goes on")
    second.close()
    assert reader.lines() == ["another worker goes on"]
    first.add("too late")
    first.close()
    assert reader.lines() == []
    assert len(LogReader(builds, id).lines()) == 4


def test_a_long_log_keeps_its_beginning_and_its_end(farm: Farm, builds: Builds) -> None:
    id = send(farm)
    writer = LogWriter(builds, id, "001")
    count = LIMIT // 100
    for number in range(count + 500):
        writer.add(f"{number:06} " + "é" * 93)
    writer.close()
    lines = LogReader(builds, id).lines()
    assert lines[0].startswith("000000 ")
    assert lines[-1].startswith(f"{count + 499:06} ")
    (gap,) = [line for line in lines if line.startswith("...")]
    kept = [line for line in lines if not line.startswith("...")]
    assert gap == f"... {count + 500 - len(kept)} lines are left out here ..."
    assert lines.index(gap) == len(lines) - TAIL - 1
    assert CHUNK * 4 < 400_000, "what DynamoDB takes, in bytes"
    assert sum(map(len, kept)) <= LIMIT + TAIL * 100


def test_what_could_not_be_written_is_written_later(farm: Farm, builds: Builds) -> None:
    id = send(farm)
    writer = LogWriter(builds, id, "001")
    writer.add("one\ntwo")
    real, builds.table = builds.table, "nowhere"
    with pytest.raises(builds.client.exceptions.ResourceNotFoundException):
        writer.flush()
    builds.table = real
    writer.add("three")
    writer.flush()
    assert LogReader(builds, id).lines() == ["one", "two", "three"]
    assert builds.need(id).sha == SHA
