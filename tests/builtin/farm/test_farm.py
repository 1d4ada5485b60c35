"""Sending, joining, waiting: as senders see the farm."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from fearless.builtin.farm.farm import Farm, NoWorker, Sent, TookTooLong
from fearless.builtin.farm.log import LogWriter
from fearless.builtin.farm.message import parse
from fearless.builtin.farm.status import Status, WorkerRow
from fearless.errors import ConfigError, Refused
from fearless.interfaces import Image
from fearless.testing.emulator import Emulator
from tests.builtin.farm.given import IMAGE, OPTIONS, a_farm
from tests.images import SHA


class Time:
    """A clock that sleeping moves; something may happen after so many sleeps."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.then: list[tuple[int, object]] = []
        self.slept = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        for number, does in self.then:
            if number == self.slept:
                does()  # type: ignore[operator]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def farm(emulator: Emulator, time: Time) -> Farm:
    return a_farm(emulator, clock=time.clock, sleep=time.sleep)


def order(farm: Farm, **more: bool) -> Sent:
    return farm.send(OPTIONS, "shop", SHA, "main", "ann@laptop", **more)


def begin(farm: Farm, status: Status, worker: str = "w1") -> Status:
    held = farm.builds.begin(parse(status.message), worker)
    assert held is not None
    return held


def test_the_same_is_joined_and_not_built_twice(farm: Farm) -> None:
    first = order(farm)
    assert first.new
    assert not order(farm).new
    held = begin(farm, first.status)
    joined = order(farm, again=True)
    assert (joined.new, joined.status.id, joined.status.state) == (False, held.id, "running")
    farm.builds.succeed(held, Image(**IMAGE))
    assert order(farm).status.digest == IMAGE["digest"]
    again = order(farm, again=True)
    assert again.new
    assert again.status.id == held.id.replace(".1", ".2")
    assert farm.queue.depth().visible == 2, "SQS does not take it for the first one"


@pytest.mark.parametrize(
    ("field", "value"),
    [("repository", "../shop"), ("ref", "a\nb"), ("requested_by", "x" * 300)],
)
def test_what_no_worker_takes_is_not_sent(farm: Farm, field: str, value: str) -> None:
    fields = {"repository": "shop", "sha": SHA, "ref": "main", "requested_by": "ann", field: value}
    message = f"{field} .* cannot be sent to a build worker: "
    with pytest.raises(ConfigError, match=message) as caught:
        farm.send(OPTIONS, **fields)
    assert "\n" not in str(caught.value)
    assert farm.queue.depth().visible == 0
    assert farm.builds.builds() == []


def test_what_failed_is_built_anew(farm: Farm) -> None:
    first = order(farm)
    farm.builds.fail(begin(farm, first.status), "it broke")
    second = order(farm)
    assert (second.new, second.status.id[-2:]) == (True, ".2")


def test_who_joins_sends_what_its_sender_could_not(farm: Farm) -> None:
    farm.queue.ensure()
    sent = order(farm)
    farm.queue.done(farm.queue.receive(1, 60))  # type: ignore[arg-type]
    assert farm.queue.depth().visible == 0
    farm.queue.send = lambda order: sends.append(order.id)  # type: ignore[method-assign]
    sends: list[str] = []
    assert order(farm).status == sent.status
    assert sends == [sent.status.id]


def test_of_many_senders_one_sends(farm: Farm) -> None:
    farm.queue.ensure()
    farm.builds.ensure()
    found: list[Sent] = []
    threads = [threading.Thread(target=lambda: found.append(order(farm))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({sent.status.id for sent in found}) == 1
    assert sum(sent.new for sent in found) == 1
    assert farm.queue.depth().visible == 1


def test_waiting_shows_the_log_as_it_comes(farm: Farm, time: Time) -> None:
    held = begin(farm, order(farm).status)
    log = LogWriter(farm.builds, held.id, "001")
    said: list[Sequence[str]] = []

    def write(text: str) -> None:
        log.add(text)
        log.flush()

    time.then = [
        (1, lambda: write("one")),
        (3, lambda: write("two\nthree")),
        (4, lambda: (write("the end"), farm.builds.succeed(held, Image(**IMAGE)))),
    ]
    status = farm.watch(held.id, said.append, patience=60)
    assert status.state == "succeeded"
    assert [list(lines) for lines in said if "no build worker" not in lines[0]] == [
        ["one"],
        ["two", "three"],
        ["the end"],
    ]


def test_waiting_in_vain(farm: Farm, time: Time) -> None:
    id = order(farm).status.id
    said: list[Sequence[str]] = []
    with pytest.raises(NoWorker, match=rf"build {id} is queued, and no worker was heard of for 30"):
        farm.watch(id, said.append, patience=30)
    assert said == [
        [f"no build worker is alive on {farm.name}: start one with `fearless build worker`"]
    ]
    assert time.slept == 31


def test_a_worker_that_is_busy_is_waited_for(farm: Farm, time: Time) -> None:
    id = order(farm).status.id
    alive = WorkerRow("w1", 1, ("shop",), time.now, time.now, 10)
    farm.builds.report(alive)
    with pytest.raises(
        TookTooLong, match=r"is queued after 45 s; it goes on: `fearless build wait"
    ):
        farm.watch(id, lambda _: None, patience=1, timeout=45)
    with pytest.raises(NoWorker):
        farm.watch(id, lambda _: None, patience=20)


def test_a_worker_that_vanished_in_the_middle(farm: Farm, time: Time) -> None:
    held = begin(farm, order(farm).status)
    time.then = [(10, lambda: farm.builds.beat(held))]
    with pytest.raises(NoWorker, match="is running, and no worker was heard of for 15 s"):
        farm.watch(held.id, lambda _: None, patience=15)
    assert time.slept == 26, "fifteen seconds after its last sign of life"


def test_a_dead_letter_is_sent_again(farm: Farm) -> None:
    first = order(farm).status
    message = farm.queue.receive(1, 60)
    assert message is not None
    farm.builds.fail(begin(farm, first), "the registry was down")
    farm.queue.bury(message, "the registry was down")
    (letter,) = farm.queue.dead()
    sent = farm.redrive(farm.queue.take(letter.id))
    assert (sent.new, sent.status.id[-2:], sent.status.requested_by) == (True, ".2", "ann@laptop")
    assert farm.queue.dead() == []
    again = farm.queue.receive(1, 60)
    assert again is not None and parse(again.body).id == sent.status.id

    bad = type(message)(again.id, again.receipt, "{}", 1)
    farm.queue.bury(bad, "no version")
    (letter,) = farm.queue.dead()
    with pytest.raises(Refused, match=r"cannot be sent again: the message has version None"):
        farm.redrive(farm.queue.take(letter.id))
    assert len(farm.queue.dead()) == 1
