"""`doit images` and `doit image_reap` over fakes with a real ledger: what is in use never goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fearless import names
from fearless.errors import Refused
from fearless.images import listing, reap, stored_images
from fearless.interfaces import Image, Stack, StoredImage
from fearless.lock import Lock
from fearless.testing.fakes import FakeRegistry
from tests.steps.conftest import World

DIGIT = dict(zip("abcdef", range(1, 7), strict=True))


class Registry(FakeRegistry):
    """Its images were all pushed 100 days ago; `deleting` is called before each deletion."""

    def stored(self) -> Sequence[StoredImage]:
        then = datetime.now(UTC) - timedelta(days=100)
        return [StoredImage(image, 12_345_678, then, "scan: 1 high") for image in self.list()]

    def deviations(self) -> Sequence[str]:
        return ["tags may move"]

    def delete(self, image: Image) -> None:
        self.deleting(image)
        super().delete(image)

    def deleting(self, image: Image) -> None:
        pass


class Deployer:
    """What a dev stack was told to run, by its name."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def deployed(self, stack: Stack) -> str | None:
        return self.told.get(stack.name)


@pytest.fixture
def registry(world: World) -> Registry:
    made = Registry()
    for letter in "abcdef":
        made.push(image(world, letter))
    world.project.using(registry=made, deploy=Deployer())
    return made


def image(world: World, letter: str, app: str = "") -> Image:
    digest = f"sha256:{DIGIT[letter]:064x}"
    return Image(app or world.app, letter * 40, digest, f"sha256:{DIGIT[letter] + 100:064x}")


def left(registry: FakeRegistry) -> str:
    return "".join(sorted(tag[0] for tag in registry.images))


def run(world: World, act: bool = True, keep: int = 0) -> dict[str, Any]:
    procedure = world.procedure("a")
    try:
        return dict(reap(procedure, keep, 30, act).data)
    finally:
        procedure.lock.release()


def test_nothing_goes_unless_it_is_told_to(world: World, registry: Registry) -> None:
    found = run(world, act=False, keep=1)
    assert left(registry) == "abcdef"
    assert found["deleted"] == []
    assert len(found["would_delete"]) == 5
    assert run(world, keep=1)["deleted"] == found["would_delete"]
    assert left(registry) == next(iter(found["kept"]))[0]


def test_what_is_in_use_stays(world: World, registry: Registry) -> None:
    world.stack("a")  # a candidate
    world.procedure("b").ledger.remember(world.procedure("b").release)
    retired = world.procedure("c").release
    world.procedure("c").ledger.remember(retired, went_live="x", deleted_at=1.0)
    inside = [image(world, "d")]
    world.baker.bake(world.procedure("f").release, inside, world.report)
    dev = names.devstack(world.app, "feature/x", "9" * 40, "20260101")
    stack = world.provisioner.create(dev, "", {}, world.report)
    world.project.deployer.told[stack.name] = image(world, "e").reference  # type: ignore[attr-defined]
    assert run(world)["deleted"] == ["c" * 40]
    assert left(registry) == "abdef"


def test_what_a_branch_was_deployed_at_stays(world: World, registry: Registry) -> None:
    row = {"branch": "x", "stack": "s", "sha": "a" * 40, "shas": ["a" * 40, "b" * 40]}
    world.project.ledger.put("DEV", "x", row)
    run(world)
    assert left(registry) == "ab"


def test_what_comes_into_use_meanwhile_stays(world: World, registry: Registry) -> None:
    going = run(world, act=False)["would_delete"]
    rescued = going[-1][0]
    registry.deleting = lambda image: world.stack(rescued) and None  # type: ignore[method-assign]
    found = run(world)
    assert left(registry) == rescued
    assert found["kept"][rescued * 40].endswith("by now")


def test_another_apps_images_are_not_looked_at(world: World, registry: Registry) -> None:
    registry.images = {"a" * 40: image(world, "a", "other")}
    assert run(world) == {"deleted": [], "kept": {}, "would_delete": []}
    assert left(registry) == "a"


def test_a_registry_that_knows_no_age_loses_nothing(world: World, registry: Registry) -> None:
    plain = FakeRegistry()
    plain.push(image(world, "a"))
    world.project.using(registry=plain)
    assert list(run(world)["kept"].values()) == ["nobody knows how old it is"]
    assert [one.size for one in stored_images(world.procedure("a"))] == [None]


def test_nothing_goes_while_somebody_releases(world: World, registry: Registry) -> None:
    other = Lock(world.project.ledger, "doit release", name="release")
    other.hold()
    try:
        with pytest.raises(Refused):
            run(world)
        assert left(registry) == "abcdef"
        assert len(run(world, act=False)["would_delete"]) == 6
    finally:
        other.release()


def test_the_list_says_what_uses_what(world: World, registry: Registry) -> None:
    stack = world.stack("a")
    done = listing(world.procedure("a"))
    json.dumps(done.data)
    (used,) = [entry for entry in done.data["images"] if entry["tag"] == "a" * 40]
    assert used["uses"] == [f"the stack {stack.name}"]
    assert used["size"] == 12_345_678
    assert used["reference"] == image(world, "a").reference
    line = next(line for line in done.detail.splitlines() if "aaaaaaaaaaaa" in line)
    for part in (image(world, "a").digest[:19], "12.3 MB", "100 days", stack.name, "scan: 1 high"):
        assert part in line
    assert done.detail.count("nothing uses it") == 5
    assert "note: tags may move" in done.detail
    registry.images.clear()
    assert "no image yet" in listing(world.procedure("a")).detail
