"""What docs/build-farm.md says that IAM must allow is enough; IAM is enforced by the emulator."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from fearless.builtin.farm.farm import Farm
from fearless.testing.emulator import Emulator
from tests.builtin.farm.given import DONE, Pretender, a_farm, send, until, working

PAGE = Path(__file__).parents[3] / "docs" / "build-farm.md"
FAILS = {"failed": "it broke", "again": False}


def rights(who: str) -> list[str]:
    (row,) = re.findall(rf"^\| {who}.*? \| (.*) \|$", PAGE.read_text(), re.M)
    return re.findall(r"`((?:sqs|dynamodb):\w+)`", row)


@pytest.fixture
def farm(emulator: Emulator) -> Farm:
    """One that somebody who may do everything has made."""
    made = a_farm(emulator)
    made.queue.ensure()
    made.builds.ensure()
    return made


class People:
    """Users who may do something to one farm, and nothing else."""

    def __init__(self, emulator: Emulator, farm: Farm) -> None:
        self.emulator = emulator
        self.iam = emulator.client("iam")
        self.farm = farm
        self.names: list[str] = []

    def __call__(self, actions: Sequence[str]) -> Farm:
        name = f"u-{uuid.uuid4().hex[:8]}"
        self.names.append(name)
        self.iam.create_user(UserName=name)
        resources = [
            f"arn:aws:sqs:us-east-1:000000000000:{self.farm.queue.name}",
            f"arn:aws:sqs:us-east-1:000000000000:{self.farm.queue.dead_name}",
            f"arn:aws:dynamodb:us-east-1:000000000000:table/{self.farm.builds.table}",
        ]
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": resources}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.iam.put_user_policy(UserName=name, PolicyName="farm", PolicyDocument=document)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        keys = {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
        }
        clients = (self.emulator.client(service, **keys) for service in ("sqs", "dynamodb"))
        return Farm(*clients, self.farm.name)


@pytest.fixture
def people(emulator: Emulator, farm: Farm) -> Iterator[People]:
    made = People(emulator, farm)
    yield made
    for name in made.names:
        for key in made.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            made.iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        made.iam.delete_user_policy(UserName=name, PolicyName="farm")
        made.iam.delete_user(UserName=name)


def test_they_are_enough(farm: Farm, people: People, tmp_path: Path) -> None:
    sender = people(rights("a sender"))
    worker = people([*rights("a sender"), *rights("a worker")])
    good = send(sender)
    with working(worker, Pretender([{"line": "one"}, DONE], [FAILS]), tmp_path) as (_, said):
        lines: list[str] = []
        status = sender.watch(good, lines.extend, patience=20, timeout=20, poll=0.1)
        assert (status.state, lines[-1]) == ("succeeded", "one")
        bad = send(sender, "5" * 40)
        until(lambda: sender.builds.need(bad).over, "the failure")
    assert said[-1] == f"{bad}: failed: it broke"
    assert [letter.reason for letter in worker.queue.dead()] == ["it broke"]
    assert worker.builds.workers() == []


@pytest.mark.parametrize("missing", rights("a sender"))
def test_a_sender_needs_each(farm: Farm, people: People, missing: str) -> None:
    sender = people([action for action in rights("a sender") if action != missing])
    with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
        sender.watch(send(sender), lambda _: None, patience=0, timeout=0)


@pytest.mark.parametrize("missing", [*rights("who is first")])
def test_who_is_first_needs_each(
    emulator: Emulator, farm: Farm, people: People, missing: str
) -> None:
    people.farm = a_farm(emulator)
    allowed = [*rights("a sender"), *rights("who is first")]
    first = people([action for action in allowed if action != missing])
    with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
        send(first)
    assert send(people(allowed))
