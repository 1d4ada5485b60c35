"""What every container builder keeps: named by the SHA, equal files are one image."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fearless.interfaces import BuildContext, ContainerBuilder, Release, Report
from fearless.testing.contracts.given import PYTHON, Contract, a_context, explained

ID = re.compile(r"sha256:[0-9a-f]{64}")


class ContainerBuilderContract(Contract):
    """`provider` is the builder; `context` builds, `broken` does not."""

    @pytest.fixture
    def provider(self) -> ContainerBuilder:
        """The builder."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def context(self, tmp_path: Path) -> BuildContext:
        """A Dockerfile that copies one file onto a Python base image."""
        dockerfile = f"FROM python:{PYTHON}-slim\nCOPY hello.py /app/\nCMD python /app/hello.py\n"
        files = {"Dockerfile": dockerfile, "hello.py": "print('hello')\n"}
        return a_context(tmp_path / "context", files)

    @pytest.fixture
    def broken(self, tmp_path: Path) -> BuildContext:
        """A Dockerfile that copies a file there is not."""
        dockerfile = f"FROM python:{PYTHON}-slim\nCOPY nowhere.py /app/\n"
        return a_context(tmp_path / "broken", {"Dockerfile": dockerfile})

    def test_it_is_a_container_builder(self, provider: ContainerBuilder) -> None:
        assert isinstance(provider, ContainerBuilder)

    def test_the_image_is_named_by_the_sha(
        self, provider: ContainerBuilder, release: Release, context: BuildContext, report: Report
    ) -> None:
        image = provider.build(release, context, report)
        assert (image.repository, image.tag) == (release.app, release.sha)
        assert self.stand_in or ID.fullmatch(image.image_id), image
        assert not image.digest or image.digest.startswith("sha256:")
        assert image.source, "a registry must know where to take the bytes from"

    def test_building_twice_is_building_once(
        self, provider: ContainerBuilder, release: Release, context: BuildContext, report: Report
    ) -> None:
        first = provider.build(release, context, report)
        assert provider.build(release, context, report) == first

    def test_what_does_not_build_is_explained(
        self, provider: ContainerBuilder, release: Release, broken: BuildContext, report: Report
    ) -> None:
        self.need_the_real_thing()
        with explained():
            provider.build(release, broken, report)
