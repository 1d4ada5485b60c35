"""Names are functions of the SHA or the branch."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless import names

SHA = "4f2a9c1b2e" + "0" * 30


def test_a_release_is_named_by_its_sha() -> None:
    release = names.release("shop", SHA, "20261123")
    assert release.name == "20261123-4f2a9c1"
    assert release.tag == "release/20261123-4f2a9c1"
    assert release.stack_name == "shop-r-4f2a9c1b2e"
    assert release.tags() == {
        "fearless:app": "shop",
        "fearless:kind": "release",
        "fearless:release": "20261123-4f2a9c1",
        "fearless:sha": SHA,
    }


def test_branches_that_look_alike_never_collide() -> None:
    alike = ["feature/x", "feature-x", "feature_x", "Feature/x", "feature/X"]
    assert len({names.branch_stack("shop", branch) for branch in alike}) == len(alike)


def test_a_dev_stack_is_named_by_its_branch_only() -> None:
    first = names.devstack("shop", "feature/x", SHA, "20261123")
    second = names.devstack("shop", "feature/x", "b" * 40, "20261124")
    assert first.stack_name == second.stack_name
    assert first.tags()["fearless:branch"] == "feature/x"


@given(st.from_regex(r"[a-z][a-z0-9-]{0,11}", fullmatch=True), st.text(min_size=1))
def test_stack_names_are_valid_and_short(app: str, branch: str) -> None:
    name = names.branch_stack(app, branch)
    assert len(name) <= names.STACK_LIMIT
    assert name.startswith(f"{app}-d-")
    assert not name.endswith("-")
    assert name.isascii()


@pytest.mark.parametrize(
    ("branch", "tag"),
    [
        ("main", "branch-main"),
        ("feature/new cart", "branch-feature-new-cart"),
        ("Fix_1.2", "branch-Fix_1.2"),
        ("-odd-", "branch-odd"),
        ("ветка", "branch-d3638b"),
    ],
)
def test_a_branch_has_a_tag_in_registries(branch: str, tag: str) -> None:
    assert names.branch_tag(branch) == tag


@given(st.text(min_size=1))
def test_tags_are_valid(branch: str) -> None:
    assert re.fullmatch(r"branch-[A-Za-z0-9_.-]+", names.branch_tag(branch))
    assert len(names.branch_tag(branch)) <= names.TAG_LIMIT


def test_long_branches_are_kept_apart() -> None:
    first, second = (names.branch_tag("x" * 200 + end) for end in "ab")
    assert first != second
