"""The packer baker keeps the rules of its slot: real packer, moto's EC2."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fearless.builtin.packer.baker import PackerBaker
from fearless.interfaces import Image, Release
from fearless.testing import contracts
from fearless.testing.contracts.given import a_release
from tests.builtin.packer.conftest import PackerProject


class TestPackerBaker(contracts.AmiBakerContract):
    @pytest.fixture
    def provider(self, baker: PackerBaker) -> PackerBaker:
        return baker

    @pytest.fixture
    def release(self, app: str) -> Release:
        return a_release(app)

    @pytest.fixture
    def images(self, project: PackerProject, release: Release) -> Sequence[Image]:
        return [project.pushed(release), project.pushed(a_release(release.app), "another")]

    @pytest.fixture
    def others(self, project: PackerProject, release: Release) -> Sequence[Image]:
        return [project.pushed(a_release(release.app), "another")]
