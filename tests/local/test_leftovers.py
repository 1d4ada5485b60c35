"""Unpacked images go when nothing refers to them any more, and not a moment earlier."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from fearless import oci
from fearless.local.leftovers import SECONDS, Sweeper, sweep
from tests.local.cloud_kit import layout, wait_for


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """Images baked, pushed and deployed, and something unpacked of each and of none of them."""
    baked = layout(tmp_path / "amis" / "ami-1" / "images", "baked")
    manifest = {"images": [{"digest": baked}]}
    (tmp_path / "amis" / "ami-1" / "manifest.json").write_text(json.dumps(manifest))
    pushed = layout(tmp_path / "registry" / "shop", "pushed")
    deployed = layout(tmp_path / "deployed" / "shop-d-1", "deployed")
    for name in (*map(oci.hex_of, (baked, pushed, deployed)), RUNNING, GONE):
        for folder in (tmp_path / "rootfs" / name, tmp_path / "rootfs" / ".bytecode" / name):
            folder.mkdir(parents=True)
            (folder / "file").write_text("content")
    (tmp_path / "rootfs" / ".unpack-killed").mkdir()
    return tmp_path


RUNNING, GONE = "a" * 64, "b" * 64


def running() -> set[str]:
    return {f"sha256:{RUNNING}"}


def unpacked(cloud: Path) -> set[str]:
    return {path.name for path in (cloud / "rootfs").iterdir() if path.is_dir()}


def test_what_nothing_refers_to_goes(cloud: Path) -> None:
    before = unpacked(cloud)
    assert sweep(cloud, running) == [".unpack-killed", GONE]
    assert unpacked(cloud) == before - {".unpack-killed", GONE}
    assert not (cloud / "rootfs" / ".bytecode" / GONE).exists()
    assert sweep(cloud, running) == []
    assert sweep(cloud, set) == [RUNNING]


def test_a_manifest_that_cannot_be_read_keeps_everything(cloud: Path) -> None:
    before = unpacked(cloud)
    (cloud / "amis" / "ami-1" / "manifest.json").write_text("{")
    assert sweep(cloud, running) == []
    (cloud / "amis" / "ami-1" / "manifest.json").write_text("{}")
    assert sweep(cloud, running) == []
    assert unpacked(cloud) == before
    assert sweep(cloud / "nowhere", running) == []


def test_it_looks_once_a_minute_and_delays_nobody(cloud: Path) -> None:
    sweeper = Sweeper(cloud, running)
    with oci.locked(cloud / "rootfs" / ".lock"):
        began = time.monotonic()
        sweeper.step(0.0)
        assert time.monotonic() - began < 1, "somebody unpacks, which takes long"
        assert GONE in unpacked(cloud)
    wait_for(lambda: GONE not in unpacked(cloud))
    (cloud / "rootfs" / GONE).mkdir()
    for now in (1.0, SECONDS - 1):
        sweeper.step(now)
    assert GONE in unpacked(cloud)

    def later() -> bool:
        sweeper.step(SECONDS + 1)
        return GONE not in unpacked(cloud)

    wait_for(later)
    sweeper.close()
