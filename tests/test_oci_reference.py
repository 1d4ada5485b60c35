"""References are taken apart as Docker does, and put together again without loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.errors import FearlessError
from fearless.oci_reference import Reference, is_loopback, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop", Reference("", "shop")),
        ("shop:5000", Reference("", "shop", "5000")),
        ("team/shop", Reference("", "team/shop")),
        ("host:5000/shop", Reference("host:5000", "shop")),
        ("host:5000/a/b:tag", Reference("host:5000", "a/b", "tag")),
        (f"host:5000/a/b:tag@{DIGEST}", Reference("host:5000", "a/b", "tag", DIGEST)),
        (f"localhost/shop@{DIGEST}", Reference("localhost", "shop", "", DIGEST)),
        ("quay.io/acme/shop:v1.2", Reference("quay.io", "acme/shop", "v1.2")),
        ("[::1]:5000/shop:x", Reference("[::1]:5000", "shop", "x")),
        ("acme/shop_a/b__c/d--e.f", Reference("", "acme/shop_a/b__c/d--e.f")),
        (
            "1.dkr.ecr.us-east-1.amazonaws.com/shop:cache-main",
            Reference("1.dkr.ecr.us-east-1.amazonaws.com", "shop", "cache-main"),
        ),
    ],
)
def test_parts(text: str, expected: Reference) -> None:
    assert parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "repository"),
        ("Shop", "repository"),
        ("team//shop", "repository"),
        ("shop/", "repository"),
        ("-shop", "repository"),
        ("a___b", "repository"),
        ("x" * 256, "repository"),
        ("shop:", "tag"),
        ("shop:-x", "tag"),
        ("shop:a b", "tag"),
        ("shop:" + "x" * 129, "tag"),
        ("shop@sha256:abc", "digest"),
        (f"shop@{DIGEST.upper()}", "digest"),
        ("shop@", "digest"),
        ("host_x:5000/shop", "host"),
        ("https://quay.io/shop", "host"),
        ("shop\n", "repository"),
    ],
)
def test_what_is_none_is_one_line_that_names_the_part(text: str, part: str) -> None:
    with pytest.raises(FearlessError) as caught:
        parse(text)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


components = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
hosts = st.from_regex(
    r"([a-z0-9]{1,9}(\.[a-z0-9]{1,9}){1,3}(:[0-9]{1,5})?|localhost|[a-z]{1,9}:[0-9]{1,5})",
    fullmatch=True,
)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)


@given(
    st.just("") | hosts,
    st.lists(components, min_size=1, max_size=3),
    st.just("") | tags,
    st.sampled_from(["", DIGEST]),
)
def test_there_and_back(host: str, parts: list[str], tag: str, digest: str) -> None:
    if not host and len(parts) > 1 and ("." in parts[0] or parts[0] == "localhost"):
        return  # that is a host
    reference = Reference(host, "/".join(parts), tag, digest)
    assert parse(str(reference)) == reference


@given(st.text(max_size=80))
def test_anything_is_either_a_reference_or_explained(text: str) -> None:
    try:
        reference = parse(text)
    except FearlessError:
        return
    assert str(reference) == text


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1:80", "127.9.9.9", "[::1]:5000", "[::1]"]
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["quay.io", "10.0.0.1:5000", "localhost.evil.example", "[2001:db8::1]:5000", "128.0.0.1"],
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
