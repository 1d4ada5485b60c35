"""What every baker keeps: found by SHA, equal inputs are one machine image, complete or absent.

And what one keeps that can boot what it baked: nothing is found before it was proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from fearless.errors import BootFailed
from fearless.interfaces import AmiBaker, BootTest, Image, MachineImage, Release, Report
from fearless.testing.contracts.given import Contract, explained, of_app

Bake = Callable[[Release, Sequence[Image]], MachineImage]
ABSENT = "sha256:" + "0" * 64


class AmiBakerContract(Contract):
    """`provider` is the baker; `images` and `others` are two sets of images that it can reach."""

    @pytest.fixture
    def provider(self) -> AmiBaker:
        """The baker."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def images(self) -> Sequence[Image]:
        """Images of `release`, as pushed to the registry the baker pulls from."""
        raise NotImplementedError("override the fixture `images`")

    @pytest.fixture
    def others(self) -> Sequence[Image]:
        """Other images than `images`, pushed to the same registry."""
        raise NotImplementedError("override the fixture `others`")

    @pytest.fixture
    def bake(self, provider: AmiBaker, report: Report) -> Iterator[Bake]:
        """Bake, and prove that it boots where the provider can; discarded after the test."""
        baked: list[MachineImage] = []

        def bake(release: Release, images: Sequence[Image]) -> MachineImage:
            baked.append(provider.bake(release, images, report))
            if isinstance(provider, BootTest):
                provider.boot_test(release, baked[-1], report)
            return baked[-1]

        yield bake
        for image in baked:
            provider.discard(image)

    def test_it_is_a_baker(self, provider: AmiBaker) -> None:
        assert isinstance(provider, AmiBaker)

    def test_what_was_never_baked_is_absent(self, provider: AmiBaker, release: Release) -> None:
        assert provider.find(release) is None
        assert provider.find(release) is None
        assert not provider.list(release.app)

    def test_what_is_baked_is_found_by_sha(
        self, provider: AmiBaker, release: Release, images: Sequence[Image], bake: Bake
    ) -> None:
        baked = bake(release, images)
        assert baked.id
        assert baked.sha == release.sha
        assert {one.digest for one in baked.images} == {one.digest for one in images}
        assert {one.image_id for one in baked.images} == {one.image_id for one in images}
        found = provider.find(release)
        assert found is not None
        assert (found.id, found.inputs) == (baked.id, baked.inputs)
        assert {one.digest for one in found.images} == {one.digest for one in images}
        assert [one.id for one in provider.list(release.app)] == [baked.id]

    def test_equal_inputs_are_one_machine_image(
        self, release: Release, images: Sequence[Image], bake: Bake
    ) -> None:
        first, second = bake(release, images), bake(release, list(reversed(images)))
        assert (first.id, first.inputs) == (second.id, second.inputs)

    def test_other_images_are_another_machine_image(
        self, release: Release, images: Sequence[Image], others: Sequence[Image], bake: Bake
    ) -> None:
        first, second = bake(release, images), bake(release, others)
        assert first.id != second.id
        assert first.inputs != second.inputs
        assert {one.digest for one in second.images} == {one.digest for one in others}

    def test_another_app_at_the_same_sha_is_another_machine_image(
        self, provider: AmiBaker, app: str, release: Release, images: Sequence[Image], bake: Bake
    ) -> None:
        bake(release, images)
        assert provider.find(of_app(release, f"{app}x")) is None
        assert not provider.list(f"{app}x")

    def test_discarding_tolerates_what_is_gone(
        self, provider: AmiBaker, release: Release, images: Sequence[Image], bake: Bake
    ) -> None:
        baked = bake(release, images)
        for _ in range(2):
            provider.discard(baked)
            assert provider.find(release) is None
        assert bake(release, images).inputs == baked.inputs

    def test_an_image_that_is_not_there_leaves_nothing_behind(
        self, provider: AmiBaker, release: Release, report: Report
    ) -> None:
        self.need_the_real_thing()
        absent = Image(release.app, release.sha, ABSENT, ABSENT)
        with explained():
            provider.bake(release, [absent], report)
        assert provider.find(release) is None


class BootTestContract(Contract):
    """`provider` is a baker that can boot what it baked; `images` answer, and `broken` do not."""

    @pytest.fixture
    def provider(self) -> AmiBaker:
        """The baker."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def images(self) -> Sequence[Image]:
        """Images of `release` whose application answers its health check."""
        raise NotImplementedError("override the fixture `images`")

    @pytest.fixture
    def broken(self) -> Sequence[Image]:
        """Images of `release` whose application does not."""
        raise NotImplementedError("override the fixture `broken`")

    def test_what_boots_is_found_and_not_before(
        self, provider: AmiBaker, release: Release, images: Sequence[Image], report: Report
    ) -> None:
        assert isinstance(provider, BootTest)
        baked = provider.bake(release, images, report)
        try:
            assert provider.find(release) is None
            assert provider.bake(release, images, report).id == baked.id
            assert provider.find(release) is None
            for _ in range(2):
                evidence = provider.boot_test(release, baked, report)
                assert evidence
                assert "\n" not in evidence
                found = provider.find(release)
                assert found is not None
                assert found.id == baked.id
        finally:
            provider.discard(baked)

    def test_what_does_not_boot_is_never_found(
        self, provider: AmiBaker, release: Release, broken: Sequence[Image], report: Report
    ) -> None:
        assert isinstance(provider, BootTest)
        baked = provider.bake(release, broken, report)
        try:
            with pytest.raises(BootFailed) as failed:
                provider.boot_test(release, baked, report)
            assert "\n" not in str(failed.value)
            assert provider.find(release) is None
        finally:
            provider.discard(baked)
        assert not provider.list(release.app)
