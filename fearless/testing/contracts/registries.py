"""What every registry keeps: tags never move, what is pushed is read back, by digest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fearless import oci
from fearless.errors import Refused
from fearless.interfaces import Image, Registry, Release
from fearless.testing.contracts.given import (
    Contract,
    a_release,
    an_image,
    explained,
    of_app,
    without_source,
)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
Build = Callable[..., Image]
Push = Callable[[Image], Image]


class RegistryContract(Contract):
    """`provider` is the registry. `build(release, text)` makes an image that it can push."""

    @pytest.fixture
    def provider(self) -> Registry:
        """The registry."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def build(self, tmp_path: Path) -> Build:
        """`build(release, text="one")`: an image with that text inside, as an OCI layout."""

        def build(release: Release, text: str = "one") -> Image:
            return an_image(tmp_path / f"built-{release.app}-{release.sha}-{text}", release, text)

        return build

    @pytest.fixture
    def push(self, provider: Registry) -> Iterator[Push]:
        """Push an image; deleted again after the test."""
        pushed: list[Image] = []

        def push(image: Image) -> Image:
            pushed.append(provider.push(image))
            return pushed[-1]

        yield push
        for image in pushed:
            provider.delete(image)

    def test_it_is_a_registry(self, provider: Registry) -> None:
        assert isinstance(provider, Registry)

    def test_what_was_never_pushed_is_absent(self, provider: Registry, release: Release) -> None:
        assert provider.find(release) is None
        assert provider.find(release) is None
        assert release.sha not in [image.tag for image in provider.list()]

    def test_what_is_pushed_is_found_by_sha(
        self, provider: Registry, release: Release, build: Build, push: Push
    ) -> None:
        image = build(release)
        pushed = push(image)
        assert (pushed.repository, pushed.tag) == (release.app, release.sha)
        assert DIGEST.fullmatch(pushed.digest), pushed
        assert pushed.digest == image.digest or not image.digest
        assert pushed.image_id == image.image_id
        found = provider.find(release)
        assert found is not None
        assert without_source(found) == without_source(pushed)
        assert without_source(found) in [without_source(one) for one in provider.list()]

    def test_pushing_twice_is_pushing_once(
        self, provider: Registry, release: Release, build: Build, push: Push
    ) -> None:
        image = build(release)
        assert without_source(push(image)) == without_source(push(image))
        assert [one.tag for one in provider.list()].count(release.sha) == 1

    def test_a_tag_never_moves(
        self, provider: Registry, release: Release, build: Build, push: Push
    ) -> None:
        first = push(build(release))
        with pytest.raises(Refused):
            provider.push(build(release, "two"))
        found = provider.find(release)
        assert found is not None and found.digest == first.digest

    def test_another_app_at_the_same_sha_is_another_image(
        self, provider: Registry, app: str, release: Release, build: Build, push: Push
    ) -> None:
        push(build(release))
        assert provider.find(of_app(release, f"{app}x")) is None

    def test_a_pull_writes_the_same_bytes(
        self, provider: Registry, release: Release, build: Build, push: Push, tmp_path: Path
    ) -> None:
        self.need_the_real_thing()
        image = push(build(release))
        into = tmp_path / "pulled"
        for _ in range(2):
            assert provider.pull(image, into) == into
            config = oci.Layout(into).verify(image.digest).config
            assert config.digest == image.image_id

    def test_what_is_not_there_cannot_be_pulled(
        self, provider: Registry, release: Release, build: Build, tmp_path: Path
    ) -> None:
        self.need_the_real_thing()
        with explained():
            provider.pull(build(release), tmp_path / "pulled")

    def test_deleting_tolerates_what_is_gone(
        self, provider: Registry, release: Release, build: Build
    ) -> None:
        image = build(release)
        provider.delete(image)
        pushed = provider.push(image)
        for _ in range(2):
            provider.delete(pushed)
            assert provider.find(release) is None
        assert release.sha not in [one.tag for one in provider.list()]

    def test_a_deleted_tag_can_be_pushed_anew(
        self, provider: Registry, release: Release, build: Build, push: Push
    ) -> None:
        provider.delete(push(build(release)))
        again = push(build(release, "two"))
        found = provider.find(release)
        assert found is not None and found.digest == again.digest

    def test_deleting_leaves_what_others_use(
        self,
        provider: Registry,
        app: str,
        release: Release,
        build: Build,
        push: Push,
        tmp_path: Path,
    ) -> None:
        other = a_release(app)
        kept, gone = push(build(other, "two")), push(build(release))
        provider.delete(gone)
        found = provider.find(other)
        assert found is not None and found.digest == kept.digest
        if not self.stand_in:
            layout = oci.Layout(provider.pull(kept, tmp_path / "pulled"))
            layout.verify(kept.digest)
