"""A provisioner against the real emulator, and an app whose stacks are cleaned up."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from fearless.builtin.cloudformation import CloudFormation
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import SilentReport
from tests.builtin.clouds import Create, EmulatorCloud
from tests.stacks import PARAMETERS, template


@pytest.fixture
def cloud(emulator: Emulator) -> EmulatorCloud:
    return EmulatorCloud(emulator)


@pytest.fixture
def provisioner(cloud: EmulatorCloud) -> CloudFormation:
    return CloudFormation(cloud, timeout=30, poll=0.02)


@pytest.fixture
def app(cloud: EmulatorCloud, provisioner: CloudFormation) -> Iterator[str]:
    """An app of this test alone; its stacks are deleted afterwards."""
    name = f"t{uuid.uuid4().hex[:6]}"
    yield name
    cloud.before.clear()
    for stack in provisioner.list(name):
        provisioner.delete(stack, SilentReport())


@pytest.fixture
def create(provisioner: CloudFormation, report: SilentReport) -> Create:
    return lambda of: provisioner.create(of, template(of).text, PARAMETERS, report)
