"""Labels are functions of the release and of where its code is."""

from __future__ import annotations

import pytest

from fearless import names
from fearless.interfaces import Release
from fearless.labels import labels, source_url

SHA = "4f2a9c1b2e" + "0" * 30


def test_an_image_says_what_it_is() -> None:
    release = names.release("shop", SHA, "20261123")
    assert labels(release, "https://example.com/shop") == {
        "fearless:app": "shop",
        "fearless:release": "20261123-4f2a9c1",
        "fearless:sha": SHA,
        "org.opencontainers.image.created": "2026-11-23T00:00:00Z",
        "org.opencontainers.image.revision": SHA,
        "org.opencontainers.image.source": "https://example.com/shop",
        "org.opencontainers.image.title": "shop",
        "org.opencontainers.image.version": "20261123-4f2a9c1",
    }


def test_what_is_not_known_is_left_out() -> None:
    found = labels(Release("shop", SHA, "", "", "shop-d-x"))
    assert not {key.rpartition(".")[2] for key in found} & {"created", "source"}


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://example.com/team/shop.git", "https://example.com/team/shop"),
        ("https://user:hush@example.com/team/shop", "https://example.com/team/shop"),
        ("https://example.com:8443/shop/", "https://example.com:8443/shop"),
        ("ssh://git@example.com:2222/team/shop.git", "https://example.com/team/shop"),
        ("git@example.com:team/shop.git", "https://example.com/team/shop"),
        ("example.com:team/shop", "https://example.com/team/shop"),
        ("/srv/git/shop.git", ""),
        ("file:///srv/git/shop.git", ""),
        ("../shop", ""),
        ("C:/git/shop", ""),
        ("https://[broken/shop", ""),
        ("", ""),
    ],
)
def test_every_way_to_clone_is_one_source(remote: str, url: str) -> None:
    assert source_url(remote) == url
