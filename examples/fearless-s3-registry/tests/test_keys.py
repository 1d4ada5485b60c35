"""The names of objects, and the names that are refused."""

from __future__ import annotations

import pytest
from fearless import FearlessError
from fearless.testing.contracts import explained

from fearless_s3_registry.keys import Keys

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize("name", ["shop", "my-shop", "a--b", "a__b", "a.b_c-1"])
def test_what_is_a_repository(name: str) -> None:
    assert Keys("", name).tags == f"{name}/tags/"


def test_an_image_layout_for_each_repository() -> None:
    keys = Keys("team/", "shop")
    assert keys.blob(DIGEST) == f"team/shop/blobs/sha256/{'ab' * 32}"
    assert keys.tag("branch-x_1.0") == "team/shop/tags/branch-x_1.0"
    assert keys.pins == "team/shop/pins/"
    assert keys.collecting == "team/shop/collecting"
    assert Keys("", "shop").blobs == "shop/blobs/sha256/"


@pytest.mark.parametrize("name", ["", "..", "Shop", "a/b", "-a", "a b", "a..b", "a___b", "a-"])
def test_what_is_no_repository(name: str) -> None:
    with explained():
        Keys("", name)


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a/b", "a" * 129, "ä"])
def test_what_is_no_tag(name: str) -> None:
    with explained():
        Keys("", "shop").tag(name)


def test_what_is_no_digest() -> None:
    with pytest.raises(FearlessError):
        Keys("", "shop").blob("sha256:../../etc/passwd")
