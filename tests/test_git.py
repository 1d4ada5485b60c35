"""git, for real: archives, tags, overlays."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from fearless.errors import ConfigError, FearlessError
from fearless.git import Git


def run(root: Path, *argv: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *argv], capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    root = tmp_path / "repository"
    (root / "app" / "pkg").mkdir(parents=True)
    (root / "app" / "Dockerfile").write_text("FROM python:3.11-slim\n")
    (root / "app" / "pkg" / "run.sh").write_text("#!/bin/sh\n")
    (root / "app" / "pkg" / "run.sh").chmod(0o755)
    run(tmp_path, "init", "-q", "-b", "main", str(root))
    run(root, "add", "-A")
    run(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one")
    return Git(root)


def test_a_commit_has_sha_and_date(repository: Git) -> None:
    sha, date = repository.commit("HEAD")
    assert sha == run(repository.root, "rev-parse", "HEAD")
    assert len(date) == 8
    assert repository.commit("main") == (sha, date)


def test_what_is_no_commit_is_one_clear_line(repository: Git, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nowhere' names no commit"):
        repository.commit("nowhere")
    with pytest.raises(ConfigError, match="not a git repository"):
        Git(tmp_path).commit("HEAD")


def test_an_empty_repository_says_commit_first(tmp_path: Path) -> None:
    run(tmp_path, "init", "-q", str(tmp_path / "new"))
    with pytest.raises(ConfigError, match="commit first"):
        Git(tmp_path / "new").commit("HEAD")


def test_only_tracked_changes_count(repository: Git) -> None:
    (repository.root / "notes.txt").write_text("mine")
    assert repository.changes() == []
    (repository.root / "app" / "Dockerfile").write_text("FROM other\n")
    assert repository.changes() == [" M app/Dockerfile"]


def test_a_tag_is_made_even_where_git_knows_nobody(repository: Git) -> None:
    sha, _ = repository.commit("HEAD")
    assert repository.tagged("release/1") is None
    repository.tag("release/1", sha, "Release 1")
    assert repository.tagged("release/1") == sha
    assert run(repository.root, "cat-file", "-t", "release/1") == "tag"


def test_an_archive_is_the_same_bytes_on_every_machine(repository: Git, tmp_path: Path) -> None:
    sha, _ = repository.commit("HEAD")
    first = repository.archive(sha, "app", tmp_path / "one.tar")
    os.utime(repository.root / "app" / "Dockerfile", (1, 1))
    (repository.root / "app" / "untracked").write_text("secret")
    second = repository.archive(sha, "app", tmp_path / "two.tar")
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        members = {m.name: m for m in archive.getmembers()}
    assert set(members) == {"Dockerfile", "pkg", "pkg/run.sh"}
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}
    assert members["pkg/run.sh"].mode == 0o755
    assert members["Dockerfile"].mode == 0o644


def test_a_project_below_the_top_of_its_repository(repository: Git, tmp_path: Path) -> None:
    below = Git(repository.root / "app")
    sha, _ = below.commit("HEAD")
    assert below.has(sha, "Dockerfile")
    assert not below.has(sha, "app/Dockerfile")
    with tarfile.open(below.archive(sha, ".", tmp_path / "x.tar")) as archive:
        assert "Dockerfile" in archive.getnames()


def test_export_is_all_or_nothing_and_repeatable(repository: Git, tmp_path: Path) -> None:
    sha, _ = repository.commit("HEAD")
    repository.export(sha, tmp_path / "out")
    repository.export(sha, tmp_path / "out")
    assert (tmp_path / "out" / "app" / "Dockerfile").is_file()
    assert [p.name for p in tmp_path.glob("export-*")] == []
    with pytest.raises(FearlessError):
        repository.export("0" * 40, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_overlay_is_a_commit_that_touches_nothing(repository: Git) -> None:
    sha, _ = repository.commit("HEAD")
    before = run(repository.root, "status", "--porcelain")
    made = repository.overlay(sha, "app", {"pkg/run.sh": b"old\n", "new": b"x"}, "before")
    assert made == repository.overlay(sha, "app", {"pkg/run.sh": b"old\n", "new": b"x"}, "before")
    assert run(repository.root, "show", f"{made}:app/pkg/run.sh") == "old"
    assert run(repository.root, "show", f"{made}:app/Dockerfile") == "FROM python:3.11-slim"
    assert run(repository.root, "rev-parse", "HEAD") == sha
    assert run(repository.root, "status", "--porcelain").replace("?? .fearless/", "") == before
    assert hashlib.sha1(b"").hexdigest() != made
