"""The folder registry: tags never move, bytes are checked, processes may race."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fearless.errors import FearlessError, Refused
from fearless.interfaces import Image
from fearless.local.registry import LocalRegistry
from fearless.oci import CorruptImage, Layout
from tests import images


@pytest.fixture
def registry(tmp_path: Path) -> LocalRegistry:
    return LocalRegistry(images.FakeProject(tmp_path / "project"))  # type: ignore[arg-type]


def built(tmp_path: Path, text: str = "one", tag: str = images.SHA) -> Image:
    layer = images.tarball(tmp_path / "layer.tar", {"app/a": images.text(text)})
    return images.image(Layout.create(tmp_path / "built"), layer, tag=tag, Cmd=["python3"])


def stored(registry: LocalRegistry) -> Layout:
    return Layout(registry.directory / "shop")


def test_nothing_is_found_in_an_empty_registry(registry: LocalRegistry) -> None:
    assert registry.find(images.release()) is None
    assert list(registry.list()) == []
    assert not registry.directory.exists()


def test_push_then_find(registry: LocalRegistry, tmp_path: Path) -> None:
    image = built(tmp_path)
    pushed = registry.push(image)
    assert (pushed.digest, pushed.image_id) == (image.digest, image.image_id)
    assert pushed.source == f"oci:{tmp_path}/project/.fearless/registry/shop"
    assert registry.find(images.release()) == pushed
    assert list(registry.list()) == [pushed]
    assert registry.find(images.release("b" * 40)) is None
    assert registry.find(images.release(app="other")) is None


def test_pushing_twice_is_pushing_once(registry: LocalRegistry, tmp_path: Path) -> None:
    assert registry.push(built(tmp_path)) == registry.push(built(tmp_path))


def test_a_tag_never_moves(registry: LocalRegistry, tmp_path: Path) -> None:
    first = registry.push(built(tmp_path))
    with pytest.raises(Refused, match="a tag never moves"):
        registry.push(built(tmp_path, "two"))
    assert registry.find(images.release()) == first
    stored(registry).verify(first.digest)


def test_damaged_bytes_are_not_stored(registry: LocalRegistry, tmp_path: Path) -> None:
    image = built(tmp_path)
    source = Layout(tmp_path / "built")
    source.path(source.manifest(image.digest).layers[0].digest).write_bytes(b"rubbish")
    with pytest.raises(CorruptImage):
        registry.push(image)
    assert registry.find(images.release()) is None


def test_a_push_repairs_what_was_damaged(registry: LocalRegistry, tmp_path: Path) -> None:
    pushed = registry.push(built(tmp_path))
    layout = stored(registry)
    layout.path(layout.manifest(pushed.digest).layers[0].digest).write_bytes(b"rubbish")
    registry.push(built(tmp_path))
    layout.verify(pushed.digest)


@pytest.mark.parametrize("source", ["", "registry:shop@sha256:1", "/just/a/path"])
def test_an_unknown_source(registry: LocalRegistry, tmp_path: Path, source: str) -> None:
    with pytest.raises(FearlessError, match="cannot push shop:"):
        registry.push(dataclasses.replace(built(tmp_path), source=source))


def test_pull_is_a_layout(registry: LocalRegistry, tmp_path: Path) -> None:
    image = registry.push(built(tmp_path))
    other = registry.push(built(tmp_path, "two", "b" * 40))
    into = tmp_path / "pulled"
    assert registry.pull(image, into) == registry.pull(other, into) == into
    layout = Layout(into)
    assert set(layout.tags()) == {f"shop:{image.tag}", f"shop:{other.tag}"}
    layout.verify(image.digest)
    layout.verify(other.digest)


def test_pulling_what_is_not_there(registry: LocalRegistry, tmp_path: Path) -> None:
    with pytest.raises(FearlessError, match="doit image"):
        registry.pull(built(tmp_path), tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_pulling_damaged_bytes(registry: LocalRegistry, tmp_path: Path) -> None:
    image = registry.push(built(tmp_path))
    layout = stored(registry)
    layout.path(layout.manifest(image.digest).layers[0].digest).unlink()
    with pytest.raises(CorruptImage, match="is missing"):
        registry.pull(image, tmp_path / "pulled")


def test_delete_collects_what_nothing_needs(registry: LocalRegistry, tmp_path: Path) -> None:
    image = registry.push(built(tmp_path))
    other = registry.push(built(tmp_path, "two", "b" * 40))
    registry.delete(image)
    registry.delete(image)
    assert list(registry.list()) == [other]
    blobs = {path.name for path in (stored(registry).root / "blobs/sha256").iterdir()}
    assert len(blobs) == 3
    stored(registry).verify(other.digest)


def test_delete_of_another_digest_leaves_the_tag(registry: LocalRegistry, tmp_path: Path) -> None:
    image = registry.push(built(tmp_path))
    registry.delete(dataclasses.replace(image, digest="sha256:" + "0" * 64))
    assert registry.find(images.release()) == image
    registry.delete(dataclasses.replace(image, repository="never"))


def test_delete_removes_what_a_killed_push_left(registry: LocalRegistry, tmp_path: Path) -> None:
    image = registry.push(built(tmp_path))
    (stored(registry).root / "blobs/sha256/.new-killed").write_bytes(b"half")
    registry.delete(image)
    assert not list((stored(registry).root / "blobs/sha256").iterdir())


def test_pushes_and_deletes_at_the_same_time(registry: LocalRegistry, tmp_path: Path) -> None:
    tags = [f"{number:040d}" for number in range(8)]
    made = []
    for number, tag in enumerate(tags):
        work = tmp_path / tag
        work.mkdir()
        made.append(built(work, f"text {number % 3}", tag))
    problems: list[BaseException] = []

    def churn(image: Image) -> None:
        try:
            for _ in range(5):
                registry.push(image)
                registry.delete(image)
            registry.push(image)
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=churn, args=(image,)) for image in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert [image.tag for image in registry.list()] == tags
    for image in registry.list():
        stored(registry).verify(image.digest)


PUSH = """
import sys
from pathlib import Path
from fearless.interfaces import Image
from fearless.errors import Refused
from fearless.local.registry import LocalRegistry
from tests.images import FakeProject
root, *image = sys.argv[1:]
try:
    LocalRegistry(FakeProject(Path(root))).push(Image(*image))
except Refused:
    print("refused")
"""


def test_two_processes_race_for_one_tag(tmp_path: Path) -> None:
    candidates = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        candidates.append(built(tmp_path / name, name))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUSH, str(tmp_path), *dataclasses.astuple(image)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent.parent,
        )
        for image in candidates
    ]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(said) == [b"", b"refused\n"]
    (held,) = LocalRegistry(images.FakeProject(tmp_path)).list()  # type: ignore[arg-type]
    assert held.digest == candidates[said.index(b"")].digest


def test_what_a_build_worker_pushed_is_known(registry: LocalRegistry, tmp_path: Path) -> None:
    pushed = registry.push(built(tmp_path))
    there = dataclasses.replace(pushed, source=f"registry:{pushed.reference}")
    assert registry.push(there) == pushed
    for other in (
        dataclasses.replace(there, digest="sha256:" + "0" * 64),
        dataclasses.replace(there, tag="b" * 40),
    ):
        with pytest.raises(FearlessError, match="registry"):
            registry.push(other)
    assert registry.find(images.release()) == pushed
