"""The machine image's step: what does not boot is discarded, what was not tested is not used."""

from __future__ import annotations

import pytest

from fearless.errors import BootFailed, FearlessError
from fearless.interfaces import Image, MachineImage, Release, Report
from fearless.steps.ami import Ami
from fearless.testing.fakes import FakeBaker, FakeBootBaker
from tests.steps.conftest import World


@pytest.fixture
def image(world: World) -> Image:
    """The image of release `a`, in the registry."""
    release = world.procedure("a").release
    digest = "sha256:" + "1" * 64
    return world.registry.push(Image(world.app, release.sha, digest, digest))


def step(world: World, baker: FakeBaker) -> Ami:
    world.project.using(ami=baker)
    return Ami(world.procedure("a"))


def test_without_a_boot_test(world: World, image: Image) -> None:
    made = step(world, FakeBaker()).make()
    assert set(made.data) == {"machine_image", "inputs"}


def test_the_evidence_is_remembered(world: World, image: Image) -> None:
    ami = step(world, FakeBootBaker())
    assert ami.find() is None
    made = ami.make()
    assert made.data["boot_test"] == "200 after 0 s"
    found = ami.find()
    assert found is not None
    assert found.detail == made.detail
    assert "boot test: 200 after 0 s" in world.report.lines


def test_one_that_does_not_boot_is_discarded(world: World, image: Image) -> None:
    baker = FakeBootBaker([image.image_id])
    with pytest.raises(BootFailed, match=r"does not answer; ami-\w+ was discarded"):
        step(world, baker).make()
    assert baker.list(world.app) == []


class Interrupted(FakeBootBaker):
    """The first test does not come to an end."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error: BaseException | None = error
        self.bakes = 0

    def bake(self, release: Release, images: list[Image], report: Report) -> MachineImage:  # type: ignore[override]
        self.bakes += not self.baked
        return super().bake(release, images, report)

    def boot_test(self, release: Release, image: MachineImage, report: Report) -> str:
        error, self.error = self.error, None
        if error:
            raise error
        return super().boot_test(release, image, report)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), FearlessError("no instance to be had")])
def test_a_test_that_was_interrupted_is_made_again_without_another_bake(
    world: World, image: Image, error: BaseException
) -> None:
    baker = Interrupted(error)
    ami = step(world, baker)
    with pytest.raises(type(error)):
        ami.make()
    assert ami.find() is None
    assert len(baker.list(world.app)) == 1
    assert ami.make().data["boot_test"]
    assert ami.find() is not None
    assert baker.bakes == 1
