"""Stacks are created once, resumed, reported and deleted by id: against a real emulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fearless.builtin.cloudformation import CloudFormation
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Kind, Stack
from fearless.testing.fakes import SilentReport
from tests.builtin.clouds import Create, EmulatorCloud, killed
from tests.stacks import PARAMETERS, SHA, TABLES, release, template

FAILING = """
Parameters: {ImageId: {Type: String}, ContainerImage: {Type: String}, ListenerPort: {Type: String}}
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      DeletionProtectionEnabled: PROTECTED
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
  Wrong:
    Type: AWS::SSM::Parameter
    DependsOn: Table
    Properties: {Type: SecureString, Value: x}
"""


def protected_tables(cloud: EmulatorCloud, stack: Stack) -> list[bool]:
    tables = cloud.client("dynamodb")
    names = [stack.table(spec) for spec in TABLES]
    return [
        tables.describe_table(TableName=name)["Table"]["DeletionProtectionEnabled"]
        for name in names
    ]


def described(cloud: EmulatorCloud, stack: Stack) -> Any:
    return cloud.client("cloudformation").describe_stacks(StackName=stack.id)["Stacks"][0]


def test_a_release_is_created_found_listed_and_deleted(
    cloud: EmulatorCloud,
    provisioner: CloudFormation,
    create: Create,
    app: str,
    report: SilentReport,
) -> None:
    of = release(app=app)
    assert provisioner.find(of.stack_name) is None
    stack = create(of)
    assert stack.ready
    assert (stack.name, stack.kind, stack.release, stack.sha) == (
        of.stack_name,
        "release",
        of.name,
        SHA,
    )
    assert of.tags().items() <= stack.tags.items()
    assert stack.outputs["ListenerPort"] == "18080"
    assert stack.outputs["LoadBalancerDNS"]
    assert protected_tables(cloud, stack) == [True, True]
    assert described(cloud, stack)["EnableTerminationProtection"]
    assert provisioner.find(of.stack_name) == stack
    assert [one.id for one in provisioner.list(app)] == [stack.id]

    seen: list[list[bool]] = []
    cloud.before["DeleteStack"] = lambda: seen.append(protected_tables(cloud, stack))
    provisioner.delete(stack, report)
    assert seen == [[False, False]]
    assert provisioner.find(of.stack_name) is None
    assert provisioner.list(app) == []
    provisioner.delete(stack, report)
    assert report.lines[-1] == f"stack {of.stack_name} is already gone"


def test_what_will_be_made_is_shown_before_it_is_and_then_followed(
    create: Create, app: str, report: SilentReport
) -> None:
    stack = create(release(app=app))
    first, *followed = report.lines
    assert first.startswith(f"stack {stack.name}: 24 resources with CAPABILITY_IAM: Auto")
    assert "DynamoDB::Table x3, " in first
    made = [note.split()[1:] for note in report.notes]
    assert ["CREATE_COMPLETE", "AWS::IAM::Role", "AppRole"] in made
    assert followed[-1].split()[1:4] == [
        "CREATE_COMPLETE",
        "AWS::CloudFormation::Stack",
        stack.name,
    ]
    assert len(followed) == len(set(followed))


def test_creating_twice_is_creating_once(cloud: EmulatorCloud, create: Create, app: str) -> None:
    first = create(release(app=app))
    cloud.calls.clear()
    assert create(release(app=app)).id == first.id
    assert not {"CreateChangeSet", "ExecuteChangeSet", "DeleteStack"} & set(cloud.calls)


@pytest.mark.parametrize(
    "operation", ["CreateChangeSet", "ExecuteChangeSet", "UpdateTerminationProtection"]
)
def test_a_run_killed_at_any_call_is_finished_by_the_next(
    cloud: EmulatorCloud, create: Create, app: str, operation: str
) -> None:
    cloud.before[operation] = killed
    with pytest.raises(KeyboardInterrupt):
        create(release(app=app))
    cloud.before.clear()
    done = cloud.calls.count("CreateChangeSet")
    stack = create(release(app=app))
    assert stack.ready
    assert described(cloud, stack)["EnableTerminationProtection"]
    assert protected_tables(cloud, stack) == [True, True]
    expected = 2 if operation == "CreateChangeSet" else 1
    assert (done, cloud.calls.count("CreateChangeSet")) == (1, expected)


def test_a_release_is_protected_before_anything_is_in_it(
    cloud: EmulatorCloud, provisioner: CloudFormation, create: Create, app: str
) -> None:
    of, seen = release(app=app), []

    def look() -> None:
        there = provisioner.find(of.stack_name)
        assert there
        seen.append((there.status, described(cloud, there)["EnableTerminationProtection"]))

    cloud.before["ExecuteChangeSet"] = look
    create(of)
    assert seen == [("REVIEW_IN_PROGRESS", True)]


def test_protection_that_does_not_stick_is_a_failure(
    cloud: EmulatorCloud, create: Create, app: str
) -> None:
    client = cloud.client("cloudformation")
    client.update_termination_protection = lambda **_: None
    with pytest.raises(FearlessError, match="has no termination protection although"):
        create(release(app=app))
    del client.update_termination_protection


def test_a_review_of_another_template_is_superseded(
    cloud: EmulatorCloud,
    provisioner: CloudFormation,
    create: Create,
    app: str,
    report: SilentReport,
) -> None:
    of = release(app=app)
    cloud.before["ExecuteChangeSet"] = killed
    with pytest.raises(KeyboardInterrupt):
        provisioner.create(of, template(of, tables=[]).text, PARAMETERS, report)
    cloud.before.clear()
    left = provisioner.find(of.stack_name)
    assert left and left.status == "REVIEW_IN_PROGRESS" and not left.ready
    assert set(create(of).outputs) >= {"TableProducts", "TableOrderLines"}


def test_a_dev_stack_is_not_protected_and_stays_with_its_branch(
    cloud: EmulatorCloud, create: Create, app: str
) -> None:
    of = release("dev", app)
    stack = create(of)
    assert not described(cloud, stack)["EnableTerminationProtection"]
    assert protected_tables(cloud, stack) == [False, False]
    assert stack.tags["fearless:branch"] == "feature/x"
    assert create(replace(of, sha="0" * 40)).id == stack.id
    with pytest.raises(Refused, match="fearless:branch is 'feature/x', not 'feature-x'"):
        create(replace(of, branch="feature-x"))


def test_the_stack_of_another_release_is_refused(create: Create, app: str) -> None:
    of = release(app=app)
    create(of)
    with pytest.raises(Refused, match=f"its tag fearless:sha is '{SHA}', not '0000"):
        create(replace(of, sha="0" * 40))


@pytest.mark.parametrize(
    ("kind", "protected", "status"),
    [
        ("release", "true", "ROLLBACK_FAILED"),
        ("release", "false", "ROLLBACK_COMPLETE"),
        ("dev", "false", "DELETE_COMPLETE"),
    ],
)
def test_a_stack_that_rolls_back_fails_with_the_first_reason_and_is_made_anew(
    provisioner: CloudFormation,
    create: Create,
    app: str,
    report: SilentReport,
    kind: Kind,
    protected: str,
    status: str,
) -> None:
    of = release(kind, app)
    failing = FAILING.replace("PROTECTED", protected)
    with pytest.raises(FearlessError) as caught:
        provisioner.create(of, failing, PARAMETERS, report)
    text = str(caught.value)
    assert f"stack {of.stack_name} is {status}: AWS::SSM::Parameter Wrong: " in text
    assert "SecureString" in text
    left = provisioner.find(of.stack_name)
    assert (left.status if left else "DELETE_COMPLETE") == status
    report.lines.clear()
    assert create(of).ready
    said = f"stack {of.stack_name} never completed ({status}): deleting it to make it anew"
    assert (said in report.lines) is (kind == "release")


def test_only_the_stack_of_that_id_and_app_is_deleted(
    provisioner: CloudFormation, create: Create, app: str, report: SilentReport
) -> None:
    stack = create(release(app=app))
    with pytest.raises(Refused, match="is no stack id"):
        provisioner.delete(replace(stack, id=stack.name), report)
    with pytest.raises(Refused, match=f"tagged fearless:app = '{app}', not 'other'"):
        provisioner.delete(replace(stack, tags={"fearless:app": "other"}), report)
    provisioner.delete(stack, report)
    again = create(release(app=app))
    provisioner.delete(stack, report)
    assert provisioner.find(stack.name) == again


def test_a_delete_that_was_killed_is_finished_by_the_next(
    cloud: EmulatorCloud,
    provisioner: CloudFormation,
    create: Create,
    app: str,
    report: SilentReport,
) -> None:
    stack = create(release(app=app))
    cloud.before["DeleteStack"] = killed
    with pytest.raises(KeyboardInterrupt):
        provisioner.delete(stack, report)
    cloud.before.clear()
    provisioner.delete(stack, report)
    assert provisioner.find(stack.name) is None


def test_stacks_are_listed_oldest_first_and_those_of_other_apps_not(
    provisioner: CloudFormation, create: Create, app: str
) -> None:
    shas = ["1" * 40, "2" * 40, "3" * 40]
    made = [create(release(app=app, sha=sha)) for sha in shas]
    assert [stack.id for stack in provisioner.list(app)] == [stack.id for stack in made]
    assert provisioner.list(app[:-1]) == []
