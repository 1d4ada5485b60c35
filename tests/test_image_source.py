"""The bytes of an image, wherever its builder left them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fearless.errors import FearlessError
from fearless.image_source import opened
from fearless.oci import Layout
from tests import images


def test_a_layout_is_opened_where_it_is(tmp_path: Path) -> None:
    image = images.image(Layout.create(tmp_path / "built"), Cmd=["x"])
    with opened(image) as (layout, digest):
        assert (layout.root, digest) == (tmp_path / "built", image.digest)


@pytest.mark.parametrize("source", ["", "floppy:a", "registry:quay.io/shop:1"])
def test_other_sources_are_refused(tmp_path: Path, source: str) -> None:
    image = images.image(Layout.create(tmp_path / "built"), Cmd=["x"])
    wrong = opened(replace(image, source=source))
    with pytest.raises(FearlessError, match="a source is `oci:<layout directory>` or `docker:"):
        wrong.__enter__()


def test_without_an_engine_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    image = replace(images.image(Layout.create(tmp_path / "built"), Cmd=["x"]), source="docker:x")
    with pytest.raises(FearlessError, match="no Docker engine answers"):
        opened(image, work=tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["built"]
