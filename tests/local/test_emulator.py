"""The emulator's contract: what Fearless relies on and MiniStack alone does not do."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.errors import ConfigError
from fearless.http import request
from fearless.local import emulator as launcher
from fearless.testing.emulator import running

TEMPLATE = (Path(__file__).parent / "full_stack.yaml").read_text()
ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def stack(emulator: Any) -> Iterator[dict[str, Any]]:
    """The contract template as a live stack: its name, outputs and resources."""
    cloudformation = emulator.client("cloudformation")
    name = f"contract-{uuid.uuid4().hex[:6]}"
    emulator.client("ssm").put_parameter(
        Name="/emu/ami", Type="String", Value="ami-12c6146b", Overwrite=True
    )
    cloudformation.create_stack(
        StackName=name, TemplateBody=TEMPLATE, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    yield {
        "name": name,
        "outputs": {o["OutputKey"]: o["OutputValue"] for o in described["Outputs"]},
        "ids": {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources},
    }
    cloudformation.delete_stack(StackName=name)


def test_every_output_of_the_contract_template_is_what_aws_would_say(stack: Any) -> None:
    outputs = stack["outputs"]
    assert outputs["SubCidr"] == "10.20.0.0/24,10.20.1.0/24,10.20.2.0/24"
    assert outputs["ItemsName"] == f"{stack['name']}-items"
    assert outputs["ProdOnly"] == "yes" and "DevQ" not in outputs
    assert outputs["Ami"] == "ami-12c6146b"


def test_a_load_balancer_is_named_on_loopback_by_api_and_template_alike(
    emulator: Any, stack: Any
) -> None:
    balancing = emulator.client("elbv2")
    arn = stack["ids"]["Alb"]
    described = balancing.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]
    assert described["DNSName"] == stack["outputs"]["AlbDns"]
    assert described["DNSName"].endswith(".elb.localhost")
    assert described["DNSName"].startswith(described["LoadBalancerName"].lower() + "-")
    made = balancing.create_load_balancer(Name="By-Api")["LoadBalancers"][0]
    assert made["DNSName"] == f"by-api-{made['LoadBalancerArn'][-16:][:8]}.elb.localhost"
    balancing.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])


def test_a_table_honours_ttl_pitr_encryption_and_its_stream(emulator: Any, stack: Any) -> None:
    tables = emulator.client("dynamodb")
    name = stack["outputs"]["ItemsName"]
    ttl = tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    backups = tables.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = backups["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    table = tables.describe_table(TableName=name)["Table"]
    assert table["SSEDescription"]["Status"] == "ENABLED"
    assert table["LatestStreamArn"].endswith("/stream/" + table["LatestStreamLabel"])
    assert table["LatestStreamArn"] == stack["outputs"]["ItemsStream"]
    backups = tables.describe_continuous_backups(TableName=stack["outputs"]["UsersName"])
    recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "DISABLED"


def test_security_group_ingress_is_a_rule_of_its_group(emulator: Any, stack: Any) -> None:
    groups = emulator.client("ec2").describe_security_groups(GroupIds=[stack["ids"]["AppSg"]])
    (rule,) = groups["SecurityGroups"][0]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (8080, 8080)
    assert rule["UserIdGroupPairs"][0]["GroupId"] == stack["ids"]["AlbSg"]


def test_documents_by_template_and_api(emulator: Any, stack: Any) -> None:
    ssm = emulator.client("ssm")
    content = json.loads(ssm.get_document(Name=stack["outputs"]["DocName"])["Content"])
    assert content["mainSteps"][0]["action"] == "aws:runShellScript"
    ssm.create_document(Name="by-api", Content="{}", DocumentType="Command")
    with pytest.raises(ssm.exceptions.DocumentAlreadyExists):
        ssm.create_document(Name="by-api", Content="{}", DocumentType="Command")
    ssm.update_document(Name="by-api", Content='{"a": 1}', DocumentVersion="$LATEST")
    assert ssm.describe_document(Name="by-api")["Document"]["LatestVersion"] == "2"
    ssm.delete_document(Name="by-api")
    with pytest.raises(ssm.exceptions.InvalidDocument):
        ssm.get_document(Name="by-api")


def test_a_group_shows_only_the_instances_that_were_reported(emulator: Any, stack: Any) -> None:
    scaling, name = emulator.client("autoscaling"), stack["outputs"]["AsgName"]

    def group() -> dict[str, Any]:
        found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return dict(found["AutoScalingGroups"][0])

    assert group()["Instances"] == []
    assert group()["TargetGroupARNs"] == [stack["outputs"]["TgArn"]]
    scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=3)
    assert (group()["DesiredCapacity"], group()["Instances"]) == (3, [])
    report = [
        {
            "InstanceId": "i-1",
            "LifecycleState": "InService",
            "HealthStatus": "Healthy",
            "AvailabilityZone": "us-east-1a",
        }
    ]
    assert request("PUT", f"{emulator.url}/_fearless/groups/{name}", report)[0] == 204
    assert [i["InstanceId"] for i in group()["Instances"]] == ["i-1"]
    assert request("PUT", f"{emulator.url}/_fearless/groups/{name}", [])[0] == 204
    assert group()["Instances"] == []


def test_scaling_activities_are_the_failures_that_were_reported(emulator: Any, stack: Any) -> None:
    scaling, name = emulator.client("autoscaling"), stack["outputs"]["AsgName"]

    def reasons(**limit: int) -> list[str]:
        found = scaling.describe_scaling_activities(AutoScalingGroupName=name, **limit)
        assert {a["StatusCode"] for a in found["Activities"]} <= {"Failed"}
        return [a["StatusMessage"] for a in found["Activities"]]

    assert reasons() == []
    at = "2026-11-23T12:00:00+00:00"
    failures = [{"id": str(n), "at": at, "reason": f"exit code {n} & <boom>"} for n in (2, 1)]
    url = f"{emulator.url}/_fearless/failures"
    assert request("PUT", url, {name: failures, "another": failures[:1]})[0] == 204
    assert reasons() == ["exit code 2 & <boom>", "exit code 1 & <boom>"]
    assert reasons(MaxRecords=1) == ["exit code 2 & <boom>"]
    found = scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    assert found[0]["StartTime"] == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert request("PUT", url, {})[0] == 204
    assert reasons() == []


def test_target_health_is_what_was_measured_and_initial_until_then(
    emulator: Any, stack: Any
) -> None:
    balancing, arn = emulator.client("elbv2"), stack["outputs"]["TgArn"]

    def health() -> dict[str, tuple[int, str]]:
        found = balancing.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return {t["Target"]["Id"]: (t["Target"]["Port"], t["TargetHealth"]["State"]) for t in found}

    targets = [{"Id": "i-a", "Port": 5001}, {"Id": "i-b"}]
    balancing.register_targets(TargetGroupArn=arn, Targets=targets)
    assert health() == {"i-a": (5001, "initial"), "i-b": (8080, "initial")}
    measured = {"i-a": {"state": "healthy"}, "i-c": {"state": "draining", "port": 5003}}
    url = f"{emulator.url}/_fearless/health"
    assert request("PUT", url, {arn: measured})[0] == 204
    assert health() == {
        "i-a": (5001, "healthy"),
        "i-b": (8080, "initial"),
        "i-c": (5003, "draining"),
    }
    balancing.deregister_targets(TargetGroupArn=arn, Targets=targets)
    assert request("PUT", url, {})[0] == 204
    assert health() == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "health", None, 404),
        ("PUT", "groups/nope", [], 404),
        ("PUT", "elsewhere", {}, 404),
        ("PUT", "health", {"arn": {"i": {"state": "splendid"}}}, 400),
        ("PUT", "health", [], 400),
        ("PUT", "failures", {"group": [{"id": "1"}]}, 400),
        ("POST", "credentials", {}, 400),
        ("POST", "credentials", {"role": "arn:aws:iam::000000000000:role/no", "session": "s"}, 403),
    ],
)
def test_the_admin_surface_refuses_what_it_does_not_understand(
    emulator: Any, method: str, path: str, body: Any, status: int
) -> None:
    assert request(method, f"{emulator.url}/_fearless/{path}", body)[0] == status


def test_a_protected_table_survives_a_direct_delete_and_a_stack_delete(emulator: Any) -> None:
    tables, cloudformation = emulator.client("dynamodb"), emulator.client("cloudformation")
    name = f"protected-{uuid.uuid4().hex[:6]}"
    properties = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": True,
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    }
    template = {"Resources": {"T": {"Type": "AWS::DynamoDB::Table", "Properties": properties}}}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))

    def status() -> str:
        return str(cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])

    wait_for(lambda: status() == "CREATE_COMPLETE")
    with pytest.raises(ClientError, match="protected against deletion"):
        tables.delete_table(TableName=name)
    cloudformation.delete_stack(StackName=name)
    wait_for(lambda: status() == "DELETE_FAILED")
    tables.update_table(TableName=name, DeletionProtectionEnabled=False)
    cloudformation.delete_stack(StackName=name)
    wait_for(lambda: name not in tables.list_tables()["TableNames"])


class Role:
    """A role of its own for one test, with a table it may or may not write."""

    def __init__(self, emulator: Any) -> None:
        self.emulator, self.name = emulator, f"role-{uuid.uuid4().hex[:6]}"
        self.iam, tables = emulator.client("iam"), emulator.client("dynamodb")
        principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        self.arn = self.iam.create_role(
            RoleName=self.name, AssumeRolePolicyDocument=document(trust)
        )["Role"]["Arn"]
        self.table = tables.create_table(
            TableName=f"t-{self.name}",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )["TableDescription"]

    def policy(self, name: str, **statement: Any) -> None:
        whole = {"Effect": "Allow", "Resource": self.table["TableArn"], **statement}
        self.iam.put_role_policy(
            RoleName=self.name, PolicyName=name, PolicyDocument=document(whole)
        )

    def client(self) -> Any:
        sts = self.emulator.client("sts")
        answer = sts.assume_role(RoleArn=self.arn, RoleSessionName="test")["Credentials"]
        return self.emulator.client(
            "dynamodb",
            aws_access_key_id=answer["AccessKeyId"],
            aws_secret_access_key=answer["SecretAccessKey"],
            aws_session_token=answer["SessionToken"],
        )

    def allowed(self, call: str, **arguments: Any) -> bool:
        try:
            getattr(self.client(), call)(**arguments)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDeniedException", error
            return False
        return True


def document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def wait_for(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.05)


@pytest.fixture
def role(emulator: Any) -> Role:
    return Role(emulator)


def test_writes_are_allowed_by_partition_key(role: Role) -> None:
    role.policy(
        "writes",
        Action=["dynamodb:PutItem", "dynamodb:BatchWriteItem", "dynamodb:UpdateItem"],
        Condition={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["test-*"]}},
    )
    role.policy("checks", Action=["dynamodb:ConditionCheckItem"])
    table = role.table["TableName"]
    tested, real = {"pk": {"S": "test-1"}}, {"pk": {"S": "order-1"}}

    def batch(*items: Any) -> dict[str, Any]:
        return {"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in items]}}

    def check(key: Any) -> dict[str, Any]:
        condition = "attribute_not_exists(nothing)"
        return {
            "ConditionCheck": {"TableName": table, "Key": key, "ConditionExpression": condition}
        }

    def put(item: Any) -> dict[str, Any]:
        return {"Put": {"TableName": table, "Item": item}}

    assert role.allowed("put_item", TableName=table, Item=tested)
    assert not role.allowed("put_item", TableName=table, Item=real)
    assert role.allowed("put_item", TableName=role.table["TableArn"], Item=tested)
    assert not role.allowed("put_item", TableName=role.table["TableArn"], Item=real)
    assert not role.allowed("update_item", TableName=table, Key=real)
    assert role.allowed("batch_write_item", **batch(tested, {"pk": {"S": "test-2"}}))
    assert not role.allowed("batch_write_item", **batch(tested, real))
    assert role.allowed("transact_write_items", TransactItems=[put(tested), check(real)])
    assert not role.allowed("transact_write_items", TransactItems=[put(tested), put(real)])
    assert not role.allowed("delete_item", TableName=table, Key=tested)


def test_a_query_is_allowed_by_the_key_it_names(role: Role) -> None:
    role.policy(
        "reads",
        Action=["dynamodb:Query"],
        Condition={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["mine"]}},
    )

    def query(value: str) -> dict[str, Any]:
        return {
            "TableName": role.table["TableName"],
            "KeyConditionExpression": "#k = :v",
            "ExpressionAttributeNames": {"#k": "pk"},
            "ExpressionAttributeValues": {":v": {"S": value}},
        }

    assert role.allowed("query", **query("mine"))
    assert not role.allowed("query", **query("yours"))


def test_a_timed_deny_lifts_itself(role: Role) -> None:
    role.policy("writes", Action=["dynamodb:PutItem"])
    write = {"TableName": role.table["TableName"], "Item": {"pk": {"S": "x"}}}
    assert role.allowed("put_item", **write)

    def fence(seconds: float) -> None:
        until = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"DateLessThan": {"aws:CurrentTime": until}}
        role.policy("fence", Effect="Deny", Action=["dynamodb:PutItem"], Condition=condition)

    fence(60)
    assert not role.allowed("put_item", **write)
    fence(-1)
    assert role.allowed("put_item", **write)
    fence(2)
    assert not role.allowed("put_item", **write)
    wait_for(lambda: role.allowed("put_item", **write))


def test_a_registered_machine_image_launches_as_a_record(emulator: Any) -> None:
    ec2 = emulator.client("ec2")
    image = ec2.register_image(Name="baked", ImageLocation="x/y")["ImageId"]
    launched = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
    assert launched["ImageId"] == image
    ec2.terminate_instances(InstanceIds=[launched["InstanceId"]])


def test_another_ministack_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "version", lambda name: "1.4.21")
    with pytest.raises(ConfigError, match=r"needs ministack 1\.5\.33, found 1\.4\.21: run `pip"):
        launcher.check_version()


def test_streams_outlive_a_restart(tmp_path: Path) -> None:
    """Records, positions and the order of what comes after: whoever followed goes on."""

    def put(client: Any, number: int) -> None:
        item = {"id": {"S": "a"}, "n": {"N": str(number)}, "raw": {"B": bytes([number, 0])}}
        client.put_item(TableName="kept", Item=item)

    def records(emulator: Any, **position: str) -> list[dict[str, Any]]:
        streams = emulator.client("dynamodbstreams")
        arn = emulator.client("dynamodb").describe_table(TableName="kept")["Table"][
            "LatestStreamArn"
        ]
        (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], **position)[
            "ShardIterator"
        ]
        found: list[dict[str, Any]] = streams.get_records(ShardIterator=iterator)["Records"]
        return [record["dynamodb"] for record in found]

    with running(tmp_path) as first:
        client = first.client("dynamodb")
        client.create_table(
            TableName="kept",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        for number in range(3):
            put(client, number)
        before = records(first, ShardIteratorType="TRIM_HORIZON")
    with running(tmp_path) as second:
        put(second.client("dynamodb"), 3)
        after = records(
            second,
            ShardIteratorType="AFTER_SEQUENCE_NUMBER",
            SequenceNumber=before[0]["SequenceNumber"],
        )
    assert [image["NewImage"]["n"]["N"] for image in before] == ["0", "1", "2"]
    assert after[:2] == before[1:]
    assert after[2]["NewImage"]["raw"]["B"] == b"\3\0"
    assert int(after[2]["SequenceNumber"]) > int(before[-1]["SequenceNumber"])


def test_an_ecr_repository_keeps_its_release_tags(emulator: Any) -> None:
    """IMMUTABLE_WITH_EXCLUSION holds for `docker push`, too, and one tag of several is deleted."""
    ecr, name = emulator.client("ecr"), f"r{uuid.uuid4().hex[:6]}"
    filters = [{"filterType": "WILDCARD", "filter": "branch-*"}]
    exclusion = {"imageTagMutabilityExclusionFilters": filters}
    mutability = "IMMUTABLE_WITH_EXCLUSION"
    ecr.create_repository(repositoryName=name, imageTagMutability=mutability, **exclusion)
    (made,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    assert made["imageTagMutabilityExclusionFilters"] == filters

    def put(tag: str, text: str) -> int:
        return request("PUT", f"{emulator.url}/v2/{name}/manifests/{tag}", {"text": text})[0]

    assert [put("sha", "one"), put("sha", "one"), put("sha", "two")] == [201, 201, 400]
    assert [put("branch-x", "one"), put("branch-x", "two"), put("branch-x", "one")] == [201] * 3
    deleted = ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "sha"}])
    assert [image["imageTag"] for image in deleted["imageIds"]] == ["sha"]
    images = ecr.describe_images(repositoryName=name)["imageDetails"]
    assert [tag for image in images for tag in image["imageTags"]] == ["branch-x"]
    ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
    assert put("branch-x", "three") == put("branch-x", "four") == 201
