"""Every built-in provider that can run on this machine keeps the rules of its slot."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fearless.builtin.aws import Aws
from fearless.builtin.cloudformation import CloudFormation
from fearless.builtin.dynamodb import DynamoDB
from fearless.builtin.fencing import Fence
from fearless.builtin.route53 import Route53
from fearless.builtin.secrets import EnvSecrets, SsmSecrets
from fearless.interfaces import DataRun, Image, Release
from fearless.local.auto import AutoBuilder
from fearless.local.baker import LocalBaker
from fearless.local.builder import LocalBuilder
from fearless.local.registry import LocalRegistry
from fearless.testing import contracts
from fearless.testing.contracts.given import a_release, an_image
from fearless.testing.emulator import Emulator
from tests.builtin.clouds import EmulatorCloud
from tests.builtin.test_dynamodb import World
from tests.images import FakeProject


@pytest.fixture
def cloud(emulator: Emulator) -> EmulatorCloud:
    return EmulatorCloud(emulator)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProject:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = FakeProject(tmp_path / "project")
    made.registry = LocalRegistry(made)  # type: ignore[arg-type]
    return made


class TestLocalRegistry(contracts.RegistryContract):
    @pytest.fixture
    def provider(self, project: FakeProject) -> LocalRegistry:
        return LocalRegistry(project)  # type: ignore[arg-type]


class TestLocalBuilder(contracts.ContainerBuilderContract):
    @pytest.fixture
    def provider(self, project: FakeProject) -> LocalBuilder:
        return LocalBuilder(project)  # type: ignore[arg-type]


class TestAutoBuilderWithoutAnEngine(contracts.ContainerBuilderContract):
    @pytest.fixture
    def provider(self, project: FakeProject, monkeypatch: pytest.MonkeyPatch) -> AutoBuilder:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{project.root}/no.sock")
        return AutoBuilder(project)  # type: ignore[arg-type]


class TestLocalBaker(contracts.AmiBakerContract):
    @pytest.fixture
    def provider(self, project: FakeProject) -> LocalBaker:
        return LocalBaker(project)  # type: ignore[arg-type]

    @pytest.fixture
    def images(self, project: FakeProject, release: Release, tmp_path: Path) -> Sequence[Image]:
        return [pushed(project, tmp_path, release), self.shared(project, tmp_path, release.app)]

    @pytest.fixture
    def others(self, project: FakeProject, release: Release, tmp_path: Path) -> Sequence[Image]:
        return [self.shared(project, tmp_path, release.app)]

    def shared(self, project: FakeProject, tmp_path: Path, app: str) -> Image:
        return pushed(project, tmp_path, a_release(app))


def pushed(project: FakeProject, tmp_path: Path, release: Release) -> Image:
    registry = project.registry
    assert isinstance(registry, LocalRegistry)
    return registry.push(an_image(tmp_path / release.sha, release, release.sha))


class TestCloudFormation(contracts.ProvisionerContract):
    @pytest.fixture
    def provider(self, cloud: EmulatorCloud) -> CloudFormation:
        return CloudFormation(cloud, timeout=30, poll=0.02)  # type: ignore[arg-type]


class TestDynamoDB(contracts.DataStoreContract):
    @pytest.fixture
    def world(self, emulator: Emulator) -> World:
        made = World(emulator)
        made.put("a", "b", "c")
        return made

    @pytest.fixture
    def provider(self, world: World) -> DynamoDB:
        """Seconds pass sixty times sooner for whoever waits for a fence."""
        store = world.store
        vars(store)["_fence"] = Fence(
            world.cloud.client,
            store._as_role,
            attempts=3,
            seconds=6,
            clock=lambda: time.monotonic() * 60,
            sleep=lambda seconds: time.sleep(seconds / 60),
        )
        return store

    @pytest.fixture
    def run(self, world: World) -> DataRun:
        return world.run


class TestRoute53(contracts.DnsProviderContract):
    @pytest.fixture
    def provider(self, cloud: EmulatorCloud) -> Iterator[Route53]:
        domain = f"{uuid.uuid4().hex[:8]}.test"
        name = f"shop.{domain}"
        yield Route53(cloud, domain, name, poll=0.01, create_zone=True)  # type: ignore[arg-type]
        client = cloud.client("route53")
        for zone in client.list_hosted_zones()["HostedZones"]:
            if zone["Name"] == f"{domain}.":
                delete_zone(client, zone["Id"])


def delete_zone(client: Any, zone: str) -> None:
    changes = [
        {"Action": "DELETE", "ResourceRecordSet": record}
        for record in client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        if record["Type"] not in ("NS", "SOA")
    ]
    if changes:
        client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    client.delete_hosted_zone(Id=zone)


class TestEnvSecrets(contracts.SecretStoreContract):
    @pytest.fixture
    def provider(self) -> EnvSecrets:
        return EnvSecrets()

    @pytest.fixture
    def secret(self, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
        monkeypatch.setenv("QUAY_PASSWORD", "hush hush")
        return "QUAY_PASSWORD", "hush hush"


class TestSsmSecrets(contracts.SecretStoreContract):
    @pytest.fixture
    def prefix(self) -> str:
        return f"/{uuid.uuid4().hex[:8]}/"

    @pytest.fixture
    def provider(self, cloud: EmulatorCloud, prefix: str) -> SsmSecrets:
        return SsmSecrets(cloud, prefix)  # type: ignore[arg-type]

    @pytest.fixture
    def secret(self, cloud: EmulatorCloud, prefix: str) -> Iterator[tuple[str, str]]:
        client = cloud.client("ssm")
        client.put_parameter(Name=f"{prefix}quay", Type="SecureString", Value="hush hush")
        yield "quay", "hush hush"
        client.delete_parameter(Name=f"{prefix}quay")


class TestAws(contracts.CloudContract):
    @pytest.fixture
    def provider(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")

        class NoUrl:
            app_url = None

        return Aws(NoUrl(), region="us-east-1")
