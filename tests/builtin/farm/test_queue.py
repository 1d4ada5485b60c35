"""The queues on the emulator's SQS: order, hiding, dead letters with reasons."""

from __future__ import annotations

import json

import pytest

from fearless.builtin.farm.farm import Farm
from fearless.builtin.farm.message import parse
from fearless.builtin.farm.queue import BuildQueue, NotOurs, Received
from fearless.errors import ConfigError, FearlessError
from fearless.testing.emulator import Emulator
from tests.builtin.farm.given import OPTIONS, a_farm, send
from tests.images import SHA

OTHER = "5" * 40


@pytest.fixture
def farm(emulator: Emulator) -> Farm:
    return a_farm(emulator)


def take(queue: BuildQueue, visibility: int = 60) -> Received:
    message = queue.receive(1, visibility)
    assert message is not None
    return message


def test_the_queues_are_made_with_a_place_for_the_dead(emulator: Emulator, farm: Farm) -> None:
    farm.queue.ensure()
    sqs = emulator.client("sqs")
    url = sqs.get_queue_url(QueueName=farm.queue.name)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["FifoQueue"] == "true"
    assert found["VisibilityTimeout"] == "120"
    policy = json.loads(found["RedrivePolicy"])
    assert policy["deadLetterTargetArn"].endswith(f":{farm.name}-dead.fifo")
    BuildQueue(sqs, farm.name).ensure()


def test_a_queue_without_one_is_refused(emulator: Emulator, farm: Farm) -> None:
    fifo = {"FifoQueue": "true"}
    emulator.client("sqs").create_queue(QueueName=farm.queue.name, Attributes=fifo)
    with pytest.raises(ConfigError, match=r"has no dead-letter queue.*give it a RedrivePolicy"):
        farm.queue.ensure()


def test_the_same_order_twice_is_one_message(farm: Farm) -> None:
    id = send(farm)
    assert send(farm) == id
    assert farm.queue.depth().visible == 1
    assert parse(take(farm.queue).body).id == id


def test_a_repository_has_one_build_at_a_time(farm: Farm) -> None:
    first, second, other = send(farm), send(farm, OTHER), send(farm, repository="blog")
    one = take(farm.queue)
    assert (parse(one.body).id, one.count) == (first, 1)
    assert parse(take(farm.queue).body).id == other
    assert farm.queue.receive(0, 60) is None, "the second waits for the first"
    farm.queue.done(one)
    assert parse(take(farm.queue).body).id == second


def test_a_message_can_be_kept_and_given_back(farm: Farm) -> None:
    send(farm)
    message = take(farm.queue)
    farm.queue.keep(message, 90)
    assert farm.queue.depth().in_flight == 1
    farm.queue.keep(message, 0)
    again = take(farm.queue)
    assert (again.id, again.count) == (message.id, 2)
    for stale in (lambda: farm.queue.keep(message, 60), lambda: farm.queue.done(message)):
        with pytest.raises(NotOurs, match="given the message to somebody else"):
            stale()
    farm.queue.done(again)


def test_a_dead_letter_says_why(farm: Farm) -> None:
    id = send(farm)
    send(farm, repository="blog")
    farm.queue.bury(take(farm.queue), "Dockerfile:3: it\nbroke \x00" + "x" * 5000)
    farm.queue.bury(take(farm.queue), "")
    letters = farm.queue.dead()
    assert [letter.reason[:24] for letter in letters] == [
        "Dockerfile:3: it broke  ",
        "no reason given",
    ]
    assert parse(letters[0].body).id == id
    again = farm.queue.dead()
    assert [letter.id for letter in again] == [letter.id for letter in letters]
    depth = farm.queue.depth()
    assert (depth.visible, depth.in_flight, depth.dead) == (0, 0, 2)

    farm.queue.forget(farm.queue.take(letters[0].id[:8]))
    assert [letter.id for letter in farm.queue.dead()] == [letters[1].id]
    with pytest.raises(FearlessError, match="has no message 'nowhere'"):
        farm.queue.take("nowhere")


def test_what_sqs_put_aside_itself_has_a_reason_too(farm: Farm) -> None:
    send(farm)
    while (message := farm.queue.receive(0, 60)) is not None:
        farm.queue.keep(message, 0)
    (letter,) = farm.queue.dead()
    assert letter.reason == "SQS gave it 10 times, and no worker finished it"
    assert OPTIONS.app == parse(letter.body).options.app == "shop"
    assert parse(letter.body).sha == SHA
