"""The embedded cloud's machine images: complete or not there, found by SHA, equal inputs once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fearless.errors import FearlessError
from fearless.interfaces import Image
from fearless.local.baker import LocalBaker
from fearless.local.registry import LocalRegistry
from fearless.oci import CorruptImage, Layout
from fearless.testing.fakes import SilentReport
from tests import images


@pytest.fixture
def project(tmp_path: Path) -> images.FakeProject:
    made = images.FakeProject(tmp_path / "project")
    made.registry = LocalRegistry(made)  # type: ignore[arg-type]
    return made


@pytest.fixture
def baker(project: images.FakeProject) -> LocalBaker:
    return LocalBaker(project)  # type: ignore[arg-type]


@pytest.fixture
def image(project: images.FakeProject, tmp_path: Path) -> Image:
    return pushed(project, tmp_path, "one")


def pushed(project: images.FakeProject, tmp_path: Path, text: str, tag: str = images.SHA) -> Image:
    layer = images.tarball(tmp_path / "layer.tar", {"app/a": images.text(text)})
    made = images.image(Layout.create(tmp_path / "built"), layer, tag=tag, Cmd=["python3"])
    registry = project.registry
    assert isinstance(registry, LocalRegistry)
    return registry.push(made)


def contents(baker: LocalBaker) -> list[str]:
    return sorted(path.name for path in baker.directory.iterdir() if path.name != ".lock")


def test_nothing_is_found_before_a_bake(baker: LocalBaker) -> None:
    assert baker.find(images.release()) is None


def test_bake_then_find(baker: LocalBaker, image: Image, report: SilentReport) -> None:
    baked = baker.bake(images.release(), [image], report)
    assert baker.find(images.release()) == baked
    assert baked.id.startswith("ami-")
    assert len(baked.id) == len("ami-") + 17
    assert baked.inputs.startswith(baked.id.removeprefix("ami-"))
    assert baked.sha == images.SHA
    (inside,) = baked.images
    assert (inside.digest, inside.image_id) == (image.digest, image.image_id)
    Layout(Path(inside.source.removeprefix("oci:"))).verify(image.digest)

    manifest = json.loads((baker.directory / baked.id / "manifest.json").read_text())
    assert set(manifest) == {"id", "app", "sha", "created", "inputs", "images"}
    assert manifest["images"] == [
        {
            "repository": "shop",
            "tag": images.SHA,
            "digest": image.digest,
            "image_id": image.image_id,
        }
    ]
    assert contents(baker) == [baked.id]
    assert baker.find(images.release("b" * 40)) is None
    assert baker.find(images.release(app="other")) is None


def test_equal_inputs_are_one_machine_image(
    baker: LocalBaker, image: Image, report: SilentReport
) -> None:
    first = baker.bake(images.release(), [image], report)
    manifest = baker.directory / first.id / "manifest.json"
    before = manifest.stat().st_mtime_ns
    assert baker.bake(images.release(), [image], report) == first
    assert manifest.stat().st_mtime_ns == before
    assert any("already" in line for line in report.lines)


def test_any_other_input_is_another_machine_image(
    baker: LocalBaker,
    project: images.FakeProject,
    image: Image,
    tmp_path: Path,
    report: SilentReport,
) -> None:
    first = baker.bake(images.release(), [image], report)
    other = pushed(project, tmp_path, "two", "b" * 40)
    assert baker.bake(images.release("b" * 40), [other], report).id != first.id
    packer = project.root / "packer"
    packer.mkdir()
    (packer / "provision.sh").write_text("true\n")
    third = baker.bake(images.release(), [image], report)
    assert third.id != first.id
    assert baker.find(images.release()) == third


def test_every_image_is_inside(
    baker: LocalBaker,
    project: images.FakeProject,
    image: Image,
    tmp_path: Path,
    report: SilentReport,
) -> None:
    other = pushed(project, tmp_path, "two", "b" * 40)
    baked = baker.bake(images.release(), [other, image], report)
    assert baker.bake(images.release(), [image, other], report) == baked
    layout = Layout(baker.directory / baked.id / "images")
    for inside in (image, other):
        layout.verify(inside.digest)


def test_a_damaged_image_is_not_baked(
    baker: LocalBaker, project: images.FakeProject, image: Image, report: SilentReport
) -> None:
    registry = Layout(project.root / ".fearless/registry/shop")
    registry.path(registry.manifest(image.digest).layers[0].digest).write_bytes(b"rubbish")
    with pytest.raises(CorruptImage):
        baker.bake(images.release(), [image], report)
    assert contents(baker) == []


def test_a_pull_that_damages_is_noticed(
    baker: LocalBaker, project: images.FakeProject, image: Image, report: SilentReport
) -> None:
    genuine = project.registry
    assert isinstance(genuine, LocalRegistry)

    class Damaging:
        def pull(self, image: Image, into: Path) -> Path:
            genuine.pull(image, into)
            layout = Layout(into)
            layout.path(layout.manifest(image.digest).layers[0].digest).write_bytes(b"rubbish")
            return into

    project.registry = Damaging()
    with pytest.raises(CorruptImage):
        baker.bake(images.release(), [image], report)
    assert contents(baker) == []
    assert baker.find(images.release()) is None


def test_an_image_that_is_not_in_the_registry(
    baker: LocalBaker, image: Image, project: images.FakeProject, report: SilentReport
) -> None:
    assert isinstance(project.registry, LocalRegistry)
    project.registry.delete(image)
    with pytest.raises(FearlessError, match="doit image"):
        baker.bake(images.release(), [image], report)
    assert contents(baker) == []


def test_a_damaged_machine_image_is_replaced(
    baker: LocalBaker, image: Image, report: SilentReport
) -> None:
    baked = baker.bake(images.release(), [image], report)
    layout = Layout(baker.directory / baked.id / "images")
    layout.path(image.digest).write_bytes(b"rubbish")
    assert baker.bake(images.release(), [image], report).id == baked.id
    layout.verify(image.digest)
    assert contents(baker) == [baked.id]


def test_discard_twice(baker: LocalBaker, image: Image, report: SilentReport) -> None:
    baked = baker.bake(images.release(), [image], report)
    baker.discard(baked)
    baker.discard(baked)
    assert contents(baker) == []
    assert baker.find(images.release()) is None


def test_what_a_killed_bake_left_is_not_a_machine_image(
    baker: LocalBaker, image: Image, report: SilentReport
) -> None:
    (baker.directory / ".bake-killed/ami").mkdir(parents=True)
    assert baker.find(images.release()) is None
    baker.bake(images.release(), [image], report)
    assert baker.find(images.release()) is not None
    assert not list(baker.directory.glob(".bake-*"))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": "ami-1"}'])
def test_a_damaged_manifest_is_one_clear_error(baker: LocalBaker, text: str) -> None:
    folder = baker.directory / "ami-00000000000000000"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(CorruptImage, match=r"manifest\.json: not a machine image's manifest"):
        baker.find(images.release())
