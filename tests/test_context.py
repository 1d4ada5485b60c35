"""Build contexts: .dockerignore as Docker reads it, and what COPY's patterns name."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from docker.utils.build import PatternMatcher
from hypothesis import given
from hypothesis import strategies as st

from fearless.context import Context, ignoring
from fearless.errors import FearlessError
from tests import images


@pytest.mark.parametrize(
    ("lines", "path", "expected"),
    [
        (["*.pyc"], "a.pyc", True),
        (["*.pyc"], "d/a.pyc", False),
        (["**/*.pyc"], "d/e/a.pyc", True),
        (["**/*.pyc"], "a.pyc", True),
        (["docs"], "docs/a/b", True),
        (["/docs/"], "docs/a", True),
        (["docs"], "docs2/a", False),
        (["*", "!app"], "app/x.py", False),
        (["*", "!app"], "other", True),
        (["*", "!app", "app/secret"], "app/secret", True),
        (["# a comment", "", "x"], "x", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[ab]"], "a", True),
        (["."], "a", False),
        (["a/**"], "a/b/c", True),
    ],
)
def test_dockerignore(lines: list[str], path: str, expected: bool) -> None:
    assert ignoring(lines)(path) is expected


NAMES = st.sampled_from(["a", "b", "ab", "a.py", "b.pyc"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PARTS = st.sampled_from(["a", "b", "ab", "*", "**", "*.py", "?", "a*"])
RULES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@given(st.lists(RULES, max_size=4), PATHS)
def test_dockerignore_is_what_the_docker_client_makes_of_it(lines: list[str], path: str) -> None:
    """The client asks for each folder on the way down, and never looks into an ignored one."""
    parts = path.split("/")
    ways = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    matcher = PatternMatcher(lines)
    assert ignoring(lines)(path) == any(matcher.matches(way) for way in ways), lines


@pytest.fixture
def files(tmp_path: Path) -> Context:
    found = images.context(
        tmp_path,
        {
            "Dockerfile": "FROM a",
            ".dockerignore": "secret\n**/*.pyc\nDockerfile\n",
            "secret": "s",
            "app/x.py": "x",
            "app/sub/y.py": "y",
            "app/sub/y.pyc": "y",
            "a.txt": "a",
            "b.txt": "b",
        },
    )
    return Context(found.archive)


def test_what_copy_sees(files: Context) -> None:
    assert list(files.files) == [".dockerignore", "a.txt", "app/sub/y.py", "app/x.py", "b.txt"]
    assert files.match("app") == {"app": {"x.py": "app/x.py", "sub/y.py": "app/sub/y.py"}}
    assert files.match("./app/x.py") == {"app/x.py": {"": "app/x.py"}}
    assert files.match("*.txt") == {"a.txt": {"": "a.txt"}, "b.txt": {"": "b.txt"}}
    assert set(files.match(".")["."]) == set(files.files)
    assert set(files.match("*")) == {".dockerignore", "a.txt", "app", "b.txt"}
    assert files.match("secret") == files.match("nothing") == {}


def test_the_engine_gets_the_dockerfile_and_nothing_ignored(files: Context, tmp_path: Path) -> None:
    files.write(tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        names = tar.getnames()
    assert "Dockerfile" in names
    assert "secret" not in names
    assert "app/sub/y.pyc" not in names


def test_a_missing_file_is_an_error_that_says_what_to_do(files: Context) -> None:
    with pytest.raises(FearlessError, match=r"no Dockerfile.prod in the build context: commit it"):
        files.text("Dockerfile.prod")
