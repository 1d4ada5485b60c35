"""Names are functions of the SHA or the branch."""

from __future__ import annotations

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
