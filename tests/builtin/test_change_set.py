"""What is checked and shown before a stack is made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from fearless.builtin.change_set import what_it_makes
from fearless.builtin.cloudformation import CloudFormation
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.testing.fakes import SilentReport
from tests.builtin.clouds import Create, EmulatorCloud
from tests.stacks import PARAMETERS, release, template


def test_resources_are_counted_by_type() -> None:
    kinds = ["AWS::IAM::Role", "AWS::EC2::Subnet", "AWS::EC2::Subnet"]
    changes = [{"ResourceChange": {"ResourceType": kind}} for kind in kinds]
    assert what_it_makes("shop", changes, ["CAPABILITY_IAM"]) == (
        "stack shop: 3 resources with CAPABILITY_IAM: EC2::Subnet x2, IAM::Role"
    )


def test_parameters_are_checked_by_name(
    provisioner: CloudFormation, app: str, report: SilentReport
) -> None:
    of = release(app=app)
    text = template(of).text
    with pytest.raises(ConfigError) as caught:
        provisioner.create(of, text, PARAMETERS | {"InstanceTyp": "t3.nano"}, report)
    assert "no parameter 'InstanceTyp' (did you mean 'InstanceType'?)" in str(caught.value)
    with pytest.raises(ConfigError, match="parameter ContainerImage, ImageId has no default"):
        provisioner.create(of, text, {}, report)
    assert provisioner.find(of.stack_name) is None


def test_more_power_than_agreed_is_refused(
    cloud: EmulatorCloud, provisioner: CloudFormation, app: str, report: SilentReport
) -> None:
    of = release(app=app)
    text = template(of).text.replace(
        "  AppRole:\n    Type: AWS::IAM::Role\n    Properties:\n",
        f"  AppRole:\n    Type: AWS::IAM::Role\n    Properties:\n      RoleName: {app}\n",
    )
    with pytest.raises(Refused, match=r"needs CAPABILITY_NAMED_IAM .*which allows CAPABILITY_IAM"):
        provisioner.create(of, text, PARAMETERS, report)
    agreed = CloudFormation(cloud, poll=0.02, capabilities=["CAPABILITY_NAMED_IAM"])
    assert agreed.create(of, text, PARAMETERS, report).outputs["AppRole"] == app


def test_a_change_set_is_waited_for_and_its_failure_explained(
    cloud: EmulatorCloud,
    provisioner: CloudFormation,
    create: Create,
    app: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = cloud.client("cloudformation")
    real, statuses = client.get_paginator, ["CREATE_PENDING", "CREATE_IN_PROGRESS", "FAILED"]

    class Pending:
        def __init__(self, paginator: Any) -> None:
            self.paginator = paginator

        def paginate(self, **query: Any) -> Any:
            for page in self.paginator.paginate(**query):
                yield page | {"Status": statuses.pop(0), "StatusReason": "Transform is not ours"}

    monkeypatch.setattr(
        client,
        "get_paginator",
        lambda name: Pending(real(name)) if name == "describe_change_set" else real(name),
    )
    of = release(app=app)
    with pytest.raises(FearlessError, match="does not accept the template: Transform is not ours"):
        create(of)
    assert statuses == []
    assert "ExecuteChangeSet" not in cloud.calls
    assert eventually_none(lambda: provisioner.find(of.stack_name))


def eventually_none(look: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 10
    while look() is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return look() is None


def test_a_template_cloudformation_does_not_accept_leaves_nothing(
    provisioner: CloudFormation, app: str, report: SilentReport
) -> None:
    of = release(app=app)
    with pytest.raises(FearlessError, match=r"creating stack .*: ValidationError: "):
        provisioner.create(of, "Resources: {A: {Type: AWS::No::Such}}", {}, report)
    assert provisioner.find(of.stack_name) is None
