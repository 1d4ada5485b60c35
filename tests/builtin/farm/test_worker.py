"""A worker between a real queue and builds that only pretend."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.builtin.farm.farm import Farm
from fearless.builtin.farm.log import LogReader
from fearless.builtin.farm.message import parse
from fearless.builtin.farm.status import Status
from fearless.builtin.farm.worker import Settings
from fearless.testing.emulator import Emulator
from tests.builtin.farm.given import DONE, IMAGE, Pretender, a_farm, send, until, working
from tests.images import SHA

FAILS = {"failed": "Dockerfile:3: `RUN make` failed with exit code 2", "again": False}
UNLUCKY = {"failed": "the registry: it does not answer", "again": True}


@pytest.fixture
def farm(emulator: Emulator) -> Farm:
    return a_farm(emulator)


def over(farm: Farm, id: str) -> Status:
    until(lambda: farm.builds.need(id).over, f"the end of {id}")
    return farm.builds.need(id)


def empty(farm: Farm) -> bool:
    depth = farm.queue.depth()
    return depth.visible == depth.in_flight == 0


def test_a_build_that_succeeds(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    runner = Pretender([{"line": "Step 1/1 : FROM x"}, DONE])
    with working(farm, runner, tmp_path) as (_, said):
        assert [worker.name for worker in until(farm.builds.workers)] == ["w1"]
        status = over(farm, id)
        until(lambda: empty(farm), "an empty queue")
    assert (status.state, status.digest, status.worker) == ("succeeded", IMAGE["digest"], "w1")
    assert runner.orders == [(id, "/nowhere", tmp_path / "w1" / "slot-0")]
    assert runner.started[0].killed.is_set()
    assert LogReader(farm.builds, id).lines()[1:] == ["Step 1/1 : FROM x"]
    assert farm.queue.dead() == []
    assert farm.builds.workers() == [], "it has left"
    assert said[0] == f"w1: waiting for builds in {farm.queue.name}"


def test_a_build_that_fails_is_dead_at_once(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    runner = Pretender([{"line": "make: error 2"}, FAILS])
    with working(farm, runner, tmp_path):
        status = over(farm, id)
        until(lambda: empty(farm), "an empty queue")
    assert (status.state, status.error, status.attempts) == ("failed", FAILS["failed"], 1)
    (letter,) = farm.queue.dead()
    assert letter.reason == FAILS["failed"]
    assert parse(letter.body).id == id
    assert LogReader(farm.builds, id).lines()[-1] == f"failed: {FAILS['failed']}"


def test_bad_luck_is_tried_again_and_not_for_ever(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    runner = Pretender([UNLUCKY], [UNLUCKY], [DONE])
    with working(farm, runner, tmp_path, backoff=0.25) as (_, said):
        assert over(farm, id).state == "succeeded"
    assert farm.builds.need(id).attempts == 3
    assert [line for line in said if "again in" in line] == [
        f"{id}: {UNLUCKY['failed']}; again in 0 s",
        f"{id}: {UNLUCKY['failed']}; again in 1 s",
    ]

    other = send(farm, "5" * 40)
    with working(farm, Pretender([UNLUCKY]), tmp_path, backoff=0):
        status = over(farm, other)
    assert status.error == f"given up after 3 attempts: {UNLUCKY['failed']}"
    assert [letter.reason for letter in farm.queue.dead()] == [status.error]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("rm -rf /", "the message is not JSON"),
        ('{"v":3,"id":"%s"}', "the message has version 3, and this worker knows 1"),
    ],
)
def test_what_is_no_order_is_dead_and_its_sender_hears_of_it(
    farm: Farm, tmp_path: Path, body: str, reason: str
) -> None:
    id = farm.builds.need(send(farm)).id
    farm.queue.done(farm.queue.receive(1, 60))  # type: ignore[arg-type]
    body = body % id if "%s" in body else body
    farm.queue._client.send_message(
        QueueUrl=farm.queue._url(), MessageBody=body, MessageGroupId="x", MessageDeduplicationId="x"
    )
    runner = Pretender([DONE])
    with working(farm, runner, tmp_path):
        (letter,) = until(farm.queue.dead, "a dead letter")
    assert (letter.reason, letter.body) == (reason, body)
    assert runner.started == []
    status = farm.builds.need(id)
    assert (status.state, status.error) == (("failed", reason) if id in body else ("queued", ""))


def test_a_repository_it_was_not_given_is_refused(farm: Farm, tmp_path: Path) -> None:
    id = send(farm, repository="elsewhere")
    with working(farm, Pretender([DONE]), tmp_path):
        status = over(farm, id)
    assert status.error == (
        "the message names repository 'elsewhere', and w1 knows shop: start workers with "
        "--repository NAME=URL"
    )


def test_told_to_end_it_hands_back_at_once(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    runner = Pretender([{"line": "long"}])
    with working(farm, runner, tmp_path, visibility=300) as (worker, said):
        until(lambda: farm.builds.need(id).state == "running", "the beginning")
        worker.stop()
        began = time.monotonic()
        until(lambda: farm.queue.depth().visible, "a message that others can see")
        assert time.monotonic() - began < 5
    assert runner.started[0].killed.is_set()
    status = farm.builds.need(id)
    assert (status.state, status.attempts, status.error) == ("queued", 0, "")
    assert said[-1] == f"{id}: handed back, this worker is told to end"
    with working(farm, Pretender([DONE]), tmp_path, "w2"):
        assert over(farm, id).worker == "w2"


def test_a_build_that_takes_too_long_is_killed(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    runner = Pretender([])
    with working(farm, runner, tmp_path, timeout=0.5):
        status = over(farm, id)
    assert runner.started[0].killed.is_set()
    assert status.error == ("it took longer than 0.5 s with fetch and push: the worker's --timeout")
    assert [letter.reason for letter in farm.queue.dead()] == [status.error]


def test_a_heartbeat_keeps_a_long_build(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    runner = Pretender([])
    with working(farm, runner, tmp_path, visibility=3) as _:
        until(lambda: farm.builds.need(id).state == "running", "the beginning")
        first = farm.builds.need(id)
        with working(farm, Pretender([DONE]), tmp_path, "w2"):
            until(lambda: time.time() > first.begun + 5, "more than one visibility")
            status = farm.builds.need(id)
            assert (status.worker, status.attempts) == ("w1", 1)
            assert status.heard > first.begun + 3
            runner.started[0].events.append(DONE)
            assert over(farm, id).worker == "w1"


def test_who_lost_a_build_stops_it_and_records_nothing(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    runner = Pretender([])
    with working(farm, runner, tmp_path, visibility=3) as (_, said):
        until(lambda: farm.builds.need(id).state == "running", "the beginning")
        other = farm.builds.begin(parse(farm.builds.need(id).message), "w2")
        assert other is not None
        until(runner.started[0].killed.is_set, "the end of what was lost")
        until(lambda: "another worker has it now" in said[-1], "a word about it")
        runner.plans = [[DONE]]
        assert farm.builds.need(id) == other
    assert farm.queue.dead() == []


def test_a_message_of_what_is_over_is_removed(farm: Farm, tmp_path: Path) -> None:
    """Its worker was killed between the record and the removal."""
    done, failed = send(farm), send(farm, "5" * 40, repository="blog")
    for id, finish in ((done, "succeed"), (failed, "fail")):
        held = farm.builds.begin(parse(farm.builds.need(id).message), "dead")
        assert held is not None
        if finish == "fail":
            farm.builds.fail(held, "it broke")
        else:
            farm.builds.succeed(held, farm.builds.need(id).image)
    runner = Pretender([DONE])
    known = {"shop": "/a", "blog": "/b"}
    with working(farm, runner, tmp_path, repositories=known):
        until(lambda: empty(farm), "an empty queue")
    assert runner.started == []
    assert [letter.reason for letter in farm.queue.dead()] == ["it broke"]


def test_one_that_kills_its_workers_is_given_up(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    order = parse(farm.builds.need(id).message)
    for number in range(3):
        assert farm.builds.begin(order, f"dead-{number}")
    runner = Pretender([DONE])
    with working(farm, runner, tmp_path):
        status = over(farm, id)
    assert runner.started == []
    assert status.error == (
        "given up after 3 attempts: each worker that began it was gone before it ended"
    )


def test_slots_build_at_once(farm: Farm, tmp_path: Path) -> None:
    ids = [send(farm), send(farm, repository="blog"), send(farm, "5" * 40)]
    runner = Pretender([])
    known = {"shop": "/a", "blog": "/b"}
    with working(farm, runner, tmp_path, slots=3, repositories=known):
        until(lambda: len(runner.started) == 2, "two builds at once")
        assert {url for _, url, _ in runner.orders} == {"/a", "/b"}
        assert len({slot for _, _, slot in runner.orders}) == 2
        runner.plans = [[DONE]]
        for started in list(runner.started):
            started.events.append(DONE)
        assert [over(farm, id).state for id in ids] == ["succeeded"] * 3
    assert len(runner.started) == 3


def test_the_cloud_may_be_away_for_a_while(farm: Farm, tmp_path: Path) -> None:
    farm.queue.ensure()
    urls = dict(farm.queue._urls)
    with working(farm, Pretender([DONE]), tmp_path) as (_, said):
        until(lambda: said, "the start")
        farm.queue._urls[farm.queue.name] = "http://127.0.0.1:1/000000000000/away.fifo"
        until(lambda: any("again in" in line for line in said), "a word about it")
        farm.queue._urls.update(urls)
        assert over(farm, send(farm)).state == "succeeded"


def test_a_log_that_cannot_be_written_costs_nothing_else(farm: Farm, tmp_path: Path) -> None:
    id = send(farm)
    put = farm.builds.client.put_item

    def no_logs(**request: Any) -> Any:
        if request["Item"]["pk"]["S"].startswith("LOG#"):
            raise ClientError({"Error": {"Code": "Throttling", "Message": "no"}}, "PutItem")
        return put(**request)

    farm.builds.client.put_item = no_logs
    with working(farm, Pretender([{"line": "x"}, DONE]), tmp_path) as (_, said):
        assert over(farm, id).state == "succeeded"
    assert any("the end of its log is lost" in line for line in said)


def test_a_defect_of_a_slot_ends_the_worker(farm: Farm, tmp_path: Path) -> None:
    class Broken:
        def start(self, *_: object) -> None:
            raise ZeroDivisionError

    send(farm)
    with (
        pytest.raises(AssertionError, match="ZeroDivisionError"),
        working(farm, Broken(), tmp_path) as (worker, _),
    ):
        until(worker._stopping.is_set, "the end")


def test_beats_are_a_third_of_the_visibility() -> None:
    assert Settings("w", {}, Path()).beat == 40
    assert SHA[:7] == "4f2a9c1"
