"""The OCI image layout: round trips, damage, atomic tags."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fearless import oci
from fearless.oci import CorruptImage, Layout
from tests import images

ONCE_PER_TEST = [HealthCheck.function_scoped_fixture]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "layout")


def make(
    layout: Layout, tmp_path: Path, tag: str = images.SHA, text: str = "hello"
) -> oci.Descriptor:
    layer = images.tarball(tmp_path / "layer.tar", {"app/a": images.text(text)})
    images.image(layout, layer, tag=tag, Cmd=["python3"])
    return layout.tags()[tag]


@given(data=st.binary(max_size=5000))
@settings(max_examples=25, suppress_health_check=ONCE_PER_TEST, deadline=None)
def test_a_blob_is_what_was_put(layout: Layout, data: bytes) -> None:
    blob = layout.put(data, oci.LAYER)
    assert blob.digest == oci.digest_of(data)
    assert blob.size == len(data)
    assert layout.get(blob.digest) == data
    layout.check(blob)


def test_putting_twice_is_putting_once(layout: Layout) -> None:
    assert layout.put(b"x", oci.LAYER) == layout.put(b"x", oci.LAYER)
    assert len(list((layout.root / "blobs" / "sha256").iterdir())) == 1


def test_a_layout_is_what_the_specification_says(layout: Layout, tmp_path: Path) -> None:
    manifest = make(layout, tmp_path)
    assert json.loads((layout.root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout.root / "index.json").read_text())
    assert index["schemaVersion"] == 2
    (entry,) = index["manifests"]
    assert entry["mediaType"] == oci.MANIFEST
    assert entry["annotations"] == {oci.REF_NAME: images.SHA}
    data = json.loads(layout.get(manifest.digest))
    assert data["config"]["mediaType"] == oci.CONFIG
    assert entry["size"] == len(layout.get(manifest.digest))


def test_tags_are_moved_and_removed(layout: Layout, tmp_path: Path) -> None:
    first = make(layout, tmp_path, "a", "one")
    second = make(layout, tmp_path, "b", "two")
    layout.tag("a", second)
    assert {tag: entry.digest for tag, entry in layout.tags().items()} == {
        "a": second.digest,
        "b": second.digest,
    }
    layout.untag("b")
    layout.untag("never there")
    assert list(layout.tags()) == ["a"]
    layout.collect()
    with pytest.raises(CorruptImage, match="missing"):
        layout.get(first.digest)
    layout.verify(second.digest)


def test_collecting_keeps_what_two_images_share(layout: Layout, tmp_path: Path) -> None:
    shared = images.tarball(tmp_path / "shared.tar", {"a": images.text("shared")})
    one = images.image(layout, shared, tag="one", Cmd=["1"])
    two = images.image(layout, shared, tag="two", Cmd=["2"])
    layout.untag(one.tag)
    layout.collect()
    layout.verify(two.digest)


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_a_flipped_bit_is_found(layout: Layout, tmp_path: Path, which: str) -> None:
    entry = make(layout, tmp_path)
    manifest = layout.manifest(entry.digest)
    digest = {
        "manifest": entry.digest,
        "config": manifest.config.digest,
        "layer": manifest.layers[0].digest,
    }[which]
    path = layout.path(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptImage, match=path.name):
        layout.verify(entry.digest)


def test_a_missing_layer_is_found(layout: Layout, tmp_path: Path) -> None:
    entry = make(layout, tmp_path)
    layer = layout.manifest(entry.digest).layers[0].digest
    layout.path(layer).unlink()
    with pytest.raises(CorruptImage, match=f"{layer} is missing"):
        layout.verify(entry.digest)


def test_copying_repairs_a_damaged_target(layout: Layout, tmp_path: Path) -> None:
    entry = make(layout, tmp_path)
    other = Layout.create(tmp_path / "other")
    other.copy_from(layout, entry.digest)
    damaged = other.path(layout.manifest(entry.digest).layers[0].digest)
    damaged.write_bytes(b"rubbish")
    other.copy_from(layout, entry.digest)
    other.verify(entry.digest)


def test_copying_a_damaged_source_fails(layout: Layout, tmp_path: Path) -> None:
    entry = make(layout, tmp_path)
    layout.path(layout.manifest(entry.digest).layers[0].digest).write_bytes(b"rubbish")
    with pytest.raises(CorruptImage):
        Layout.create(tmp_path / "other").copy_from(layout, entry.digest)


@pytest.mark.parametrize("digest", ["", "sha256:xyz", "sha256:" + "A" * 64, "../../etc/passwd"])
def test_only_digests_name_blobs(layout: Layout, digest: str) -> None:
    with pytest.raises(CorruptImage, match="not a sha256 digest"):
        layout.get(digest)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"manifests": [{}]}', '{"manifests": 1}'])
def test_a_damaged_index_is_one_clear_error(layout: Layout, text: str) -> None:
    (layout.root / "index.json").write_text(text)
    with pytest.raises(CorruptImage):
        layout.tags()


def test_a_reader_never_sees_half_an_index(layout: Layout, tmp_path: Path) -> None:
    entry = make(layout, tmp_path)
    done = threading.Event()
    problems: list[Exception] = []

    def read() -> None:
        while not done.is_set():
            try:
                assert images.SHA in layout.tags()
            except Exception as error:  # noqa: BLE001
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        layout.tag(f"tag-{number}", entry)
    done.set()
    reader.join()
    assert not problems
    assert not list(layout.root.glob(".new-*"))


def test_a_failed_write_leaves_nothing(layout: Layout) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        layout.put_stream(Broken(), oci.LAYER)
    assert not list((layout.root / "blobs" / "sha256").iterdir())


def test_what_is_received_is_stored_as_the_blob_it_is_said_to_be(layout: Layout) -> None:
    blob = oci.Descriptor(oci.LAYER, oci.digest_of(b"layer"), 5)
    assert not layout.has(blob)
    layout.receive(io.BytesIO(b"layer"), blob)
    assert layout.has(blob)
    layout.path(blob.digest).write_bytes(b"other")
    assert not layout.has(blob)


def test_something_else_is_not_stored(layout: Layout) -> None:
    blob = oci.Descriptor(oci.LAYER, oci.digest_of(b"layer"), 5)
    with pytest.raises(CorruptImage, match=f"{blob.digest} was damaged or replaced"):
        layout.receive(io.BytesIO(b"liar!"), blob)
    assert list(layout.path(blob.digest).parent.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{}", b'{"config": {}, "layers": 3}', b"\xff"])
def test_what_is_no_manifest_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(CorruptImage):
        oci.Manifest.from_bytes(data)


def test_a_manifest_is_read_back(layout: Layout, tmp_path: Path) -> None:
    entry = make(layout, tmp_path)
    data = layout.get(entry.digest)
    assert oci.Manifest.from_bytes(data).to_bytes() == data
