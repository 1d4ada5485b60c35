"""The fakes keep the rules of their slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fearless.data.unit import Unit
from fearless.interfaces import CopyEngine, DataRun, Image, Release, Stack
from fearless.testing import contracts, fakes
from fearless.testing.contracts.dns import a_stack


class TestFakeRegistry(contracts.RegistryContract):
    stand_in = True

    @pytest.fixture
    def provider(self) -> fakes.FakeRegistry:
        return fakes.FakeRegistry()


class TestFakeBuilder(contracts.ContainerBuilderContract):
    stand_in = True

    @pytest.fixture
    def provider(self) -> fakes.FakeBuilder:
        return fakes.FakeBuilder()


class TestFakeBaker(contracts.AmiBakerContract):
    stand_in = True

    @pytest.fixture
    def provider(self) -> fakes.FakeBaker:
        return fakes.FakeBaker()

    @pytest.fixture
    def images(self, release: Release) -> Sequence[Image]:
        return [named(release, letter) for letter in "ab"]

    @pytest.fixture
    def others(self, release: Release) -> Sequence[Image]:
        return [named(release, letter) for letter in "ac"]


class TestFakeBootBaker(TestFakeBaker):
    @pytest.fixture
    def provider(self) -> fakes.FakeBootBaker:
        return fakes.FakeBootBaker()


class TestFakeBootBakersTest(contracts.BootTestContract):
    stand_in = True

    @pytest.fixture
    def images(self, release: Release) -> Sequence[Image]:
        return [named(release, "a")]

    @pytest.fixture
    def broken(self, release: Release) -> Sequence[Image]:
        return [named(release, "b")]

    @pytest.fixture
    def provider(self, broken: Sequence[Image]) -> fakes.FakeBootBaker:
        return fakes.FakeBootBaker([image.image_id for image in broken])


class TestFakeProvisioner(contracts.ProvisionerContract):
    stand_in = True

    @pytest.fixture
    def provider(self) -> fakes.FakeProvisioner:
        return fakes.FakeProvisioner()


class TestFakeStore(contracts.DataStoreContract):
    stand_in = True

    @pytest.fixture
    def provider(self) -> fakes.FakeStore:
        return fakes.FakeStore()

    @pytest.fixture
    def run(self) -> DataRun:
        stacks: list[Stack] = [a_stack("live"), a_stack("next")]
        return DataRun("r1", stacks[0], stacks[1], (), ())


class TestFakeDns(contracts.DnsProviderContract):
    stand_in = True

    @pytest.fixture
    def provider(self) -> fakes.FakeDns:
        return fakes.FakeDns()


class TestFakeCloud(contracts.CloudContract):
    stand_in = True

    @pytest.fixture
    def provider(self) -> fakes.FakeCloud:
        return fakes.FakeCloud({"sts": object()})


def named(release: Release, letter: str) -> Image:
    return Image(release.app, release.sha, f"sha256:{letter * 64}", f"sha256:{letter * 64}")


def test_the_fake_engine_performs_what_it_is_offered(report: fakes.SilentReport) -> None:
    done: list[Unit] = []
    engine = fakes.FakeEngine(done.append)
    assert isinstance(engine, CopyEngine)
    job: Any = None
    with engine.crew(job, report) as crew:
        crew.offer([Unit("copy", "orders", "0")])
        assert engine.crews == 1
    assert engine.crews == 0
    assert engine.offered == done == [Unit("copy", "orders", "0")]
