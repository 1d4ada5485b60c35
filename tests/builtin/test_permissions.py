"""What the template's role may do, with IAM really enforced by the emulator."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.builtin.cloudformation import CloudFormation
from fearless.interfaces import Stack
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import SilentReport
from tests.builtin.clouds import EmulatorCloud
from tests.stacks import PARAMETERS, TABLES, release, template

PRODUCTS = TABLES[0]


@pytest.fixture(scope="module")
def stack(emulator: Emulator) -> Iterator[Stack]:
    provisioner = CloudFormation(EmulatorCloud(emulator), timeout=30, poll=0.02)
    of = release(app=f"t{uuid.uuid4().hex[:6]}")
    made = provisioner.create(of, template(of).text, PARAMETERS, SilentReport())
    yield made
    provisioner.delete(made, SilentReport())


def assume(emulator: Emulator, role: str, session: str) -> dict[str, str]:
    arn = emulator.client("iam").get_role(RoleName=role)["Role"]["Arn"]
    answer = emulator.client("sts").assume_role(RoleArn=arn, RoleSessionName=session)
    keys = answer["Credentials"]
    return {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }


@pytest.fixture(scope="module")
def app(emulator: Emulator, stack: Stack) -> Any:
    """DynamoDB as the application sees it: the role's credentials, not ours."""
    keys = assume(emulator, stack.outputs["AppRole"], "fearless-canary")
    return emulator.client("dynamodb", **keys)


def item(store: str) -> dict[str, Any]:
    return {"store_id": {"S": store}, "object_id": {"S": "o-1"}}


def denied(call: Any, **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDeniedException", error
        return True
    return False


def test_the_app_reads_its_tables_and_no_others(emulator: Emulator, stack: Stack, app: Any) -> None:
    table = stack.table(PRODUCTS)
    assert app.get_item(TableName=table, Key=item("store-1")).get("Item") is None
    assert (
        app.query(
            TableName=table,
            KeyConditionExpression="store_id = :s",
            ExpressionAttributeValues={":s": {"S": "store-1"}},
        )["Count"]
        == 0
    )
    assert app.scan(TableName=stack.table(TABLES[1]))["Count"] == 0
    assert denied(app.scan, TableName=stack.outputs["StateTable"])
    assert denied(app.list_tables)
    assert denied(app.delete_table, TableName=table)
    assert denied(app.update_table, TableName=table, DeletionProtectionEnabled=False)


def test_the_app_writes_test_data_and_nothing_else(stack: Stack, app: Any) -> None:
    table = stack.table(PRODUCTS)
    ours, theirs = item("test-1"), item("store-1")
    assert not denied(app.put_item, TableName=table, Item=ours)
    assert not denied(
        app.batch_write_item, RequestItems={table: [{"PutRequest": {"Item": item("test-2")}}]}
    )
    assert not denied(app.delete_item, TableName=table, Key=item("test-2"))
    assert denied(app.put_item, TableName=table, Item=theirs)
    assert denied(app.delete_item, TableName=table, Key=theirs)
    assert denied(
        app.update_item,
        TableName=table,
        Key=theirs,
        UpdateExpression="SET a = :a",
        ExpressionAttributeValues={":a": {"S": "x"}},
    )
    mixed = [{"PutRequest": {"Item": one}} for one in (ours, theirs)]
    assert denied(app.batch_write_item, RequestItems={table: mixed})
    assert denied(
        app.transact_write_items,
        TransactItems=[{"Put": {"TableName": table, "Item": theirs}}],
    )
    assert denied(
        app.execute_statement,
        Statement=f"INSERT INTO \"{table}\" VALUE {{'store_id': 'store-1', 'object_id': 'x'}}",
    )


def test_a_policy_added_outside_the_template_opens_and_fences(
    emulator: Emulator, stack: Stack, app: Any
) -> None:
    iam, table, role = emulator.client("iam"), stack.table(PRODUCTS), stack.outputs["AppRole"]

    def put(name: str, effect: str) -> None:
        statement = {"Effect": effect, "Action": "dynamodb:PutItem", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)

    assert denied(app.put_item, TableName=table, Item=item("store-1"))
    put("fearless-open", "Allow")
    assert not denied(app.put_item, TableName=table, Item=item("store-1"))
    put("fearless-fence", "Deny")
    assert denied(app.put_item, TableName=table, Item=item("store-1"))
    assert denied(app.put_item, TableName=table, Item=item("test-1"))
    for name in ("fearless-fence", "fearless-open"):
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    assert denied(app.put_item, TableName=table, Item=item("store-1"))


def test_the_account_assumes_the_role_as_the_canary_only(emulator: Emulator, stack: Stack) -> None:
    user = f"u{uuid.uuid4().hex[:6]}"
    iam = emulator.client("iam")
    iam.create_user(UserName=user)
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    iam.put_user_policy(
        UserName=user,
        PolicyName="assume",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    key = iam.create_access_key(UserName=user)["AccessKey"]
    sts = emulator.client(
        "sts",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    arn = iam.get_role(RoleName=stack.outputs["AppRole"])["Role"]["Arn"]
    assert sts.assume_role(RoleArn=arn, RoleSessionName="fearless-canary")["Credentials"]
    with pytest.raises(ClientError, match="not authorized to perform: sts:AssumeRole"):
        sts.assume_role(RoleArn=arn, RoleSessionName="developer")
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=user, PolicyName="assume")
    iam.delete_user(UserName=user)


def test_nothing_of_the_stack_is_open_to_ssh(emulator: Emulator, stack: Stack) -> None:
    cloudformation, ec2 = emulator.client("cloudformation"), emulator.client("ec2")
    resources = cloudformation.describe_stack_resources(StackName=stack.id)["StackResources"]
    ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}
    groups = ec2.describe_security_groups(
        GroupIds=[ids["AppSecurityGroup"], ids["LoadBalancerSecurityGroup"]]
    )["SecurityGroups"]
    ports = {permission["FromPort"] for group in groups for permission in group["IpPermissions"]}
    assert ports == {8080, 18080}
