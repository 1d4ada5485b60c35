"""Fencing by a denial in the application's role, on an emulator that enforces IAM."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.data.fences import Fence
from fearless.data.fences.canary import Canary, assume
from fearless.data.fences.documents import open_policy
from fearless.data.fences.role import RoleFence
from fearless.errors import FearlessError, NotAuthorised
from fearless.testing.emulator import Emulator

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
            "Action": "sts:AssumeRole",
        }
    ],
}


class App:
    """A table, and an application whose role may write it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.iam = emulator.client("iam")
        self.dynamodb = emulator.client("dynamodb")
        self.role = self.table = f"app-{uuid.uuid4().hex[:8]}"
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "B"},
                {"AttributeName": "sk", "AttributeType": "N"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        self.arn = self.iam.create_role(
            RoleName=self.role, AssumeRolePolicyDocument=json.dumps(TRUST)
        )["Role"]["Arn"]
        self.iam.put_role_policy(
            RoleName=self.role,
            PolicyName="app",
            PolicyDocument=json.dumps(open_policy([self.describe()[0]["TableArn"]])),
        )

    def describe(self) -> list[Any]:
        return [self.dynamodb.describe_table(TableName=self.table)["Table"]]

    def client(self) -> Any:
        keys = assume(self.emulator.client("sts"), self.arn, "the application")
        return self.emulator.client(
            "dynamodb",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    def may_write(self) -> bool:
        try:
            self.client().put_item(
                TableName=self.table, Item={"pk": {"B": b"from the app"}, "sk": {"N": "1"}}
            )
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDeniedException"
            return False
        return True

    def fence(self, name: str = "run", attempts: int = 3, **more: Any) -> RoleFence:
        canary = Canary(self.client, attempts, 0.1, **more)
        return RoleFence(self.iam, [self.role], self.describe, canary, name)

    def policies(self) -> list[str]:
        return sorted(self.iam.list_role_policies(RoleName=self.role)["PolicyNames"])


@pytest.fixture
def app(emulator: Emulator) -> Iterator[App]:
    made = App(emulator)
    yield made
    for name in made.policies():
        made.iam.delete_role_policy(RoleName=made.role, PolicyName=name)
    made.iam.delete_role(RoleName=made.role)
    made.dynamodb.delete_table(TableName=made.table)


def test_up_and_down(app: App, report: Any) -> None:
    made: Fence = app.fence()
    assert made.timed
    assert not made.fenced()
    assert app.may_write()
    for _ in range(2):
        made.fence(1, 60)
        assert made.fenced()
        assert not app.may_write()
    assert made.confirm(report).startswith("3 writes as role app-")
    made.fence(1, None)
    made.fence(1, 60)
    assert app.policies() == [
        "app",
        "fearless-fence-run-0001-sealed",
        "fearless-fence-run-0001-timed",
    ]
    for _ in range(2):
        made.unfence(1)
        assert not made.fenced()
        assert app.may_write()


def test_it_lifts_itself_unless_it_is_for_good(app: App) -> None:
    made = app.fence()
    made.fence(1, 2)
    assert made.fenced()
    deadline = time.monotonic() + 15
    while made.fenced() or not app.may_write():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    made.fence(2, None)
    made.fence(2, 1)
    time.sleep(2.2)
    assert made.fenced()
    assert not app.may_write()


def test_an_earlier_attempt_or_another_run_lifts_nothing(app: App) -> None:
    made = app.fence()
    made.fence(3, None)
    made.unfence(2)
    app.fence("run-2").unfence(9)
    app.fence("other").unfence(9)
    assert made.fenced()
    made.unfence(3)
    assert not made.fenced()


def test_a_fence_that_does_not_hold_is_found_out(app: App, report: Any) -> None:
    ticks = iter(range(0, 10_000, 20))
    made = app.fence(clock=lambda: float(next(ticks)), sleep=lambda _: None)
    with pytest.raises(FearlessError, match="can still write 60 s after the fence"):
        made.confirm(report)


def test_what_cannot_be_done_is_explained(app: App) -> None:
    made = RoleFence(app.iam, ["nobody"], app.describe, Canary(app.client), "run")
    for action in (lambda: made.fence(1, 60), lambda: made.fence(1, None), made.fenced):
        with pytest.raises(FearlessError, match="role nobody"):
            action()
    with pytest.raises(NotAuthorised, match="its trust policy must allow that session name"):
        assume(app.emulator.client("sts"), "arn:aws:iam::000000000000:role/nobody", "x")
