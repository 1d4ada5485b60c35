"""A worker's copy of a repository: the commit asked for, whatever happened to the copy before."""

from __future__ import annotations

from pathlib import Path

import pytest

from fearless.builtin.farm.mirror import Absent, Mirror
from fearless.errors import FearlessError
from tests.builtin.farm.given import Repository


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "origin", {"app/Dockerfile": "FROM x\n"})


@pytest.fixture
def mirror(origin: Repository, tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirrors", "acme/shop", str(origin.root))


def test_it_has_what_was_pushed(origin: Repository, mirror: Mirror, tmp_path: Path) -> None:
    mirror.update(origin.sha)
    assert mirror.read(origin.sha, "app/Dockerfile") == b"FROM x\n"
    assert mirror.has(origin.sha, "app/Dockerfile")
    first = mirror.archive(origin.sha, "app", tmp_path / "context.tar").read_bytes()
    assert b"FROM x" in first
    origin.git("checkout", "-q", "-b", "feature/x")
    origin.commit({"app/Dockerfile": "FROM y\n"})
    mirror.update(origin.sha)
    assert mirror.read(origin.sha, "app/Dockerfile") == b"FROM y\n"
    assert mirror.branch(origin.sha) == "feature/x"
    assert [path.name for path in mirror.root.iterdir()] == [".git"], "nothing is checked out"


def test_it_knows_the_default_branch(origin: Repository, mirror: Mirror) -> None:
    mirror.update(origin.sha)
    assert mirror.default_branch() == "main"
    origin.git("branch", "-m", "main", "trunk")
    origin.commit({})
    mirror.update(origin.sha)
    assert mirror.default_branch() == "trunk"


def test_what_it_has_needs_no_network(origin: Repository, mirror: Mirror) -> None:
    mirror.update(origin.sha)
    mirror.url = "/nowhere"
    mirror.update(origin.sha)
    with pytest.raises(FearlessError, match="nowhere") as caught:
        mirror.update("5" * 40)
    assert not isinstance(caught.value, Absent), "it may go better another time"


def test_what_is_not_there(origin: Repository, mirror: Mirror) -> None:
    with pytest.raises(Absent, match=r"commit 5555555555 is not in repository acme/shop: push it"):
        mirror.update("5" * 40)
    with pytest.raises(Absent):
        mirror.update("main")
    with pytest.raises(Absent, match=r"has no nothing\.toml"):
        mirror.read(origin.sha, "nothing.toml")


def test_it_survives_a_fetch_that_was_killed(origin: Repository, mirror: Mirror) -> None:
    mirror.update(origin.sha)
    (mirror.root / ".git" / "refs" / "remotes" / "origin" / "main.lock").touch()
    (mirror.root / ".git" / "packed-refs.lock").touch()
    mirror.update(origin.commit({"app/x": "1"}))
    (mirror.root / ".git" / "HEAD").unlink()
    mirror.update(origin.sha)
    assert mirror.has(origin.sha, "app/x")


def test_a_name_is_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "mirrors"
    names = ("shop", "a/../../b", "/etc", "-c", "x" * 500)
    roots = {Mirror(folder, name, "url").root for name in names}
    assert len(roots) == len(names)
    assert {root.parent for root in roots} == {folder}
