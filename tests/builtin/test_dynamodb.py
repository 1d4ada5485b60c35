"""The DynamoDB provider: fences that IAM enforces, and the runs of the release steps."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.builtin.dynamodb import DynamoDB
from fearless.builtin.fencing import table_names
from fearless.errors import FearlessError, Refused
from fearless.interfaces import DataRun, DataStore, Stack, TableSpec
from fearless.testing.emulator import Emulator
from tests.builtin.clouds import EmulatorCloud

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:RoleSessionName": "fearless-canary"}},
        }
    ],
}


class World:
    """Two stacks as the template makes them: a role, a table, a state table each."""

    def __init__(self, emulator: Emulator) -> None:
        self.cloud = EmulatorCloud(emulator)
        self.emulator = emulator
        self.store = DynamoDB(
            self.cloud,
            zombie_seconds=0.2,
            confirm_attempts=3,
            confirm_seconds=0.1,
            drain_seconds=20,
        )
        tag = uuid.uuid4().hex[:8]
        self.source, self.target = self.stack(f"live-{tag}"), self.stack(f"next-{tag}")
        self.run = DataRun(
            "r1", self.source, self.target, (TableSpec("orders", "pk", hash_type="S"),), ()
        )

    def stack(self, name: str) -> Stack:
        client = self.cloud.client("dynamodb")
        for table, stream, keys in (("orders", True, ["pk"]), ("state", False, ["pk", "sk"])):
            client.create_table(
                TableName=f"{name}-{table}",
                KeySchema=[
                    {"AttributeName": key, "KeyType": role}
                    for key, role in zip(keys, ("HASH", "RANGE"), strict=False)
                ],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                BillingMode="PAY_PER_REQUEST",
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
                if stream
                else {"StreamEnabled": False},
            )
        self.cloud.client("iam").create_role(
            RoleName=f"{name}-app", AssumeRolePolicyDocument=json.dumps(TRUST)
        )
        outputs = {
            "AppRole": f"{name}-app",
            "StateTable": f"{name}-state",
            "TableOrders": f"{name}-orders",
            "TargetGroup": "tg",
        }
        return Stack(
            name,
            f"id-{name}",
            "CREATE_COMPLETE",
            "release",
            "1",
            "a" * 40,
            datetime.now(UTC),
            outputs,
        )

    def app(self, stack: Stack) -> Any:
        role = self.cloud.client("iam").get_role(RoleName=stack.outputs["AppRole"])["Role"]["Arn"]
        keys = self.cloud.client("sts").assume_role(
            RoleArn=role, RoleSessionName="fearless-canary"
        )["Credentials"]
        return self.emulator.client(
            "dynamodb",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    def may_write(self, stack: Stack) -> bool:
        table = stack.outputs["TableOrders"]
        try:
            self.app(stack).put_item(TableName=table, Item={"pk": {"S": "from the app"}})
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDeniedException"
            return False
        return True

    def put(self, *keys: str) -> None:
        for key in keys:
            self.cloud.client("dynamodb").put_item(
                TableName=self.source.outputs["TableOrders"], Item={"pk": {"S": key}}
            )

    def keys(self, stack: Stack) -> list[str]:
        answer = self.cloud.client("dynamodb").scan(TableName=stack.outputs["TableOrders"])
        return sorted(item["pk"]["S"] for item in answer["Items"])


@pytest.fixture
def world(emulator: Emulator) -> Iterator[World]:
    made = World(emulator)
    yield made
    for stack in (made.source, made.target):
        made.store.forget(stack)
        made.cloud.client("iam").delete_role(RoleName=stack.outputs["AppRole"])
        for table in (stack.outputs["TableOrders"], stack.outputs["StateTable"]):
            made.cloud.client("dynamodb").delete_table(TableName=table)


def test_it_is_a_data_store(world: World) -> None:
    assert isinstance(world.store, DataStore)
    assert table_names(world.source) == [world.source.outputs["TableOrders"]]


def test_open_fence_and_unfence_are_what_iam_enforces(world: World, report: Any) -> None:
    store, stack = world.store, world.source
    assert not store.writable(stack)
    assert not world.may_write(stack)
    for _ in range(2):
        store.open(stack)
        assert store.writable(stack)
        assert world.may_write(stack)
    with pytest.raises(FearlessError, match="can still write"):
        impatient = store._fence
        clock = iter(range(0, 10_000, 20))
        impatient._clock = lambda: float(next(clock))
        impatient.confirm(stack, report)
    del store.__dict__["_fence"]
    for _ in range(2):
        store.fence(stack, None)
        assert not store.writable(stack)
        assert not world.may_write(stack)
    store.confirm_fence(stack, report)
    assert "were denied over" in report.lines[-1]
    with pytest.raises(Refused, match="fenced for good"):
        store.unfence(stack)
    store.open(stack)
    assert world.may_write(stack)
    store.unfence(stack)
    for _ in range(2):
        store.forget(stack)
    assert not store.writable(stack)


def test_a_timed_fence_lifts_itself(world: World, report: Any) -> None:
    store, stack = world.store, world.source
    store.open(stack)
    store.fence(stack, 60)
    assert not store.writable(stack)
    assert not world.may_write(stack)
    store.confirm_fence(stack, report)
    store.unfence(stack)
    assert store.writable(stack)
    assert world.may_write(stack)
    store.fence(stack, 2)
    assert not world.may_write(stack)
    deadline = time.monotonic() + 15
    while not (store.writable(stack) and world.may_write(stack)):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_whole_run(world: World, report: Any) -> None:
    store, run = world.store, world.run
    store.open(world.source)
    world.put("a", "b", "c")
    assert store.state(run).phase == "none"
    assert store.copy(run, report).read == 3
    assert store.copy(run, report).phase == "replay"
    world.put("d")
    assert store.follow(run, report).applied >= 1
    with pytest.raises(Refused, match="fence it before draining"):
        store.drain(run, report)
    world.put("e")
    store.fence(world.source, 60)
    store.confirm_fence(world.source, report)
    assert store.drain(run, report).lag == 0
    assert world.keys(world.target) == world.keys(world.source) == ["a", "b", "c", "d", "e"]
    assert store.verify(run, report).clean
    assert store.quarantine(run) == []
    store.fence(world.source, None)
    store.open(world.target)
    for action in (store.follow, store.drain, store.verify, store.repair):
        with pytest.raises(Refused, match="may write it"):
            action(run, report)
    assert store.state(run).phase == "replay"


def test_a_stack_without_the_outputs_is_explained(world: World, report: Any) -> None:
    bare = Stack("bare", "id", "CREATE_COMPLETE", "release", "1", "a", datetime.now(UTC), {})
    run = DataRun("r", world.source, bare, world.run.tables, ())
    with pytest.raises(FearlessError, match="stack bare has no output 'TableOrders'"):
        world.store.state(run)


def test_settings_for_loopback_and_for_aws(world: World) -> None:
    near = DynamoDB(world.cloud)
    assert near._migration(world.run, None).settings.zombie == 2.0  # type: ignore[arg-type]
    far = DynamoDB(world.cloud)
    far.__dict__["_near"] = False
    assert far._migration(world.run, None).settings.zombie == 900.0  # type: ignore[arg-type]
    assert (far._fence._attempts, far._fence._seconds) == (20, 10.0)


def test_items_expire_only_once_the_stack_is_live(world: World, report: Any) -> None:
    class Project:
        tables = (TableSpec("orders", "pk", ttl="gone_at"),)

    store, client = DynamoDB(world.cloud, project=Project()), world.cloud.client("dynamodb")
    table = world.target.outputs["TableOrders"]

    def status() -> str:
        found = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        return str(found["TimeToLiveStatus"])

    assert status() == "DISABLED"
    for _ in range(2):
        store.open(world.target)
        assert status() == "ENABLED"
    store.fence(world.target, None)
    with pytest.raises(Refused, match=rf"TTL is on at {table} \(attribute gone_at\)"):
        world.store.copy(world.run, report)
