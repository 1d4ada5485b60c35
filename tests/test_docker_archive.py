"""Docker's archive format: round trips keep the image's id; damage is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fearless import docker_archive, oci
from fearless.oci import CorruptImage, Layout
from tests import images

ONCE_PER_TEST = [HealthCheck.function_scoped_fixture]

FILES = st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=50), min_size=1)


@given(layers=st.lists(FILES, max_size=4))
@settings(max_examples=25, suppress_health_check=ONCE_PER_TEST, deadline=None)
def test_docker_archive_round_trip(tmp_path: Path, layers: list[dict[str, str]]) -> None:
    source = Layout.create(tmp_path / "source")
    paths = [
        images.tarball(tmp_path / f"{n}.tar", {name: images.text(t) for name, t in files.items()})
        for n, files in enumerate(layers)
    ]
    image = images.image(source, *paths, Cmd=["x"])
    docker_archive.write(source, image.digest, tmp_path / "image.tar", ("shop:1",))
    target = Layout.create(tmp_path / "target")
    found = docker_archive.read(tmp_path / "image.tar", target)
    assert found.digest == image.digest
    assert target.verify(found.digest).config.digest == image.image_id


def test_the_config_of_a_docker_archive_is_kept_byte_for_byte(tmp_path: Path) -> None:
    config = b'{ "rootfs" : {"diff_ids": [] , "type":"layers"},   "made by": "hand" }\n'
    archive = saved(tmp_path, config, {})
    layout = Layout.create(tmp_path / "layout")
    manifest = layout.manifest(docker_archive.read(archive, layout).digest)
    assert layout.get(manifest.config.digest) == config


def test_a_layer_that_is_not_the_configs_is_refused(tmp_path: Path) -> None:
    config = oci.canonical({"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}})
    archive = saved(tmp_path, config, {"a/layer.tar": b"not that layer"})
    with pytest.raises(CorruptImage, match="its config says"):
        docker_archive.read(archive, Layout.create(tmp_path / "layout"))


@pytest.mark.parametrize(
    "config", [b"", b"{}", b'{"rootfs": {"diff_ids": ["sha256:1", "sha256:2"]}}']
)
def test_what_is_no_docker_archive_is_refused(tmp_path: Path, config: bytes) -> None:
    archive = saved(tmp_path, config, {"a/layer.tar": b""})
    with pytest.raises(CorruptImage):
        docker_archive.read(archive, Layout.create(tmp_path / "layout"))


def saved(tmp_path: Path, config: bytes, layers: dict[str, bytes]) -> Path:
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": list(layers)}]
    files = {"config.json": config, **layers, "manifest.json": json.dumps(manifest).encode()}
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
