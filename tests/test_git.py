"""git, for real: archives, tags, overlays."""

from __future__ import annotations

import getpass
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from fearless.errors import ConfigError, FearlessError
from fearless.git import OPS, Failed, Git, whoami


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


# ------------------------------------------------------------------ what is not committed


def commit(root: Path, message: str) -> str:
    run(root, "add", "-A")
    run(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", message)
    return run(root, "rev-parse", "HEAD")


def test_ops_code_that_nobody_added_counts_too(repository: Git) -> None:
    root = repository.root
    (root / ".gitignore").write_text("*.log\n")
    commit(root, "ignore")
    (root / "notes.txt").write_text("mine")
    (root / "plugins" / "__pycache__").mkdir(parents=True)
    (root / "plugins" / "__pycache__" / "x.cpython-311.pyc").write_text("")
    for name in ("zoë.py", "old.pyc", "some.log"):
        (root / "plugins" / name).write_text("")
    (root / "dodo.py").write_text("")
    assert repository.changes() == []
    assert repository.changes(OPS) == ["?? dodo.py", "?? plugins/zoë.py"]


def test_changes_below_the_top_are_relative_to_the_project(repository: Git) -> None:
    root = repository.root
    (root / "README").write_text("a text that is long enough to be found again\n")
    commit(root, "read me")
    below = Git(root / "app")
    (root / "app" / "plugins").mkdir()
    (root / "app" / "plugins" / "new.py").write_text("")
    (root / "plugins").mkdir()
    (root / "plugins" / "of_another_project.py").write_text("")
    (root / "app" / "Dockerfile").write_text("FROM other\n")
    run(root, "mv", "README", "app/READ ME")
    assert below.changes(OPS) == [
        " M Dockerfile",
        "R  ../README -> READ ME",
        "?? plugins/new.py",
    ]


# ------------------------------------------------------------------ tar files


def test_an_archive_takes_long_names(repository: Git, tmp_path: Path) -> None:
    name = f"{'d' * 90}/{'f' * 120}.txt"
    (repository.root / "app" / name).parent.mkdir()
    (repository.root / "app" / name).write_text("deep")
    sha = commit(repository.root, "deep")
    first = repository.archive(sha, "app", tmp_path / "one.tar")
    second = repository.archive(sha, "app", tmp_path / "two.tar")
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert name in archive.getnames()


@pytest.fixture(params=["filter", "by hand"])
def filtered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tarfile's filters, and as on Python 3.11.0 to 3.11.3, which have none."""
    if request.param == "filter":
        if not hasattr(tarfile, "data_filter"):
            pytest.skip("this Python has no filters")
        return
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    extract = tarfile.TarFile.extract

    def old(self: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        extract(self, member, path)

    monkeypatch.setattr(tarfile.TarFile, "extract", old)
    monkeypatch.setattr(tarfile.TarFile, "extractall", None)


@pytest.mark.usefixtures("filtered")
def test_an_export_is_what_was_committed(repository: Git, tmp_path: Path) -> None:
    (repository.root / "app" / "link").symlink_to("pkg/run.sh")
    sha = commit(repository.root, "link")
    repository.export(sha, tmp_path / "out")
    assert (tmp_path / "out" / "app" / "link").read_text() == "#!/bin/sh\n"
    assert os.access(tmp_path / "out" / "app" / "pkg" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "out" / "app" / "Dockerfile", os.X_OK)


@pytest.mark.usefixtures("filtered")
@pytest.mark.parametrize("target", ["/etc/passwd", "../../../outside"])
def test_an_export_never_leads_outside(repository: Git, tmp_path: Path, target: str) -> None:
    (repository.root / "app" / "link").symlink_to(target)
    sha = commit(repository.root, "link")
    with pytest.raises(FearlessError, match=r"cannot be exported: .*link"):
        repository.export(sha, tmp_path / "exports" / "out")
    assert list((tmp_path / "exports").iterdir()) == []


@pytest.mark.usefixtures("filtered")
@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../out.txt", tarfile.REGTYPE, ""),
        ("a/../../out.txt", tarfile.REGTYPE, ""),
        ("device", tarfile.CHRTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("hard", tarfile.LNKTYPE, "../secret"),
        ("there/x", tarfile.REGTYPE, ".."),
    ],
)
def test_a_member_outside_is_refused(
    repository: Git,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: bytes,
    link: str,
) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        if kind == tarfile.REGTYPE and link:
            first = tarfile.TarInfo("there")
            first.type, first.linkname = tarfile.SYMTYPE, link
            archive.addfile(first)
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        archive.addfile(member)
    monkeypatch.setattr(repository, "_tar", lambda tree: raw.getvalue())
    with pytest.raises(FearlessError, match="cannot be exported"):
        repository.export("a" * 40, tmp_path / "deep" / "exports" / "out")
    assert list((tmp_path / "deep" / "exports").iterdir()) == []
    assert not (tmp_path / "deep" / "out.txt").exists()


# ------------------------------------------------------------------ interrupted, refused, slow


def test_an_overlay_leaves_no_lock_behind_that_stops_the_next(
    repository: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    (repository.root / ".fearless").mkdir()
    (repository.root / ".fearless" / "overlay.index.lock").write_text("killed")
    sha, _ = repository.commit("HEAD")
    assert repository.overlay(sha, "app", {"new": b"x"}, "before")
    assert list(scratch.iterdir()) == []


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A git that does what we want to see."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_the_reason_is_shown_not_the_hint(repository: Git, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run(tmp_path, "init", "-q", "--bare", str(other))
    sha, _ = repository.commit("HEAD")
    repository.tag("release/1", sha, "one")
    repository.push(str(other), "release/1")
    (repository.root / "x").write_text("")
    run(repository.root, "tag", "--force", "release/1", commit(repository.root, "two"))
    with pytest.raises(Failed, match=r"error: failed to push some refs .*already exists") as caught:
        repository.push(str(other), "release/1")
    assert "hint" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_repository_of_somebody_else_is_no_missing_tag(
    repository: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(
        tmp_path,
        monkeypatch,
        "echo \"fatal: detected dubious ownership in repository at '/srv/shop'\" >&2; exit 128",
    )
    for ask in (lambda: repository.tagged("x"), lambda: repository.has("x", "y")):
        with pytest.raises(ConfigError, match=r"does not trust /srv/shop .*safe.directory /srv/s"):
            ask()


def test_a_git_that_does_not_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, "exec sleep 30")
    with pytest.raises(FearlessError, match=r"`git rev-parse` in .* did not end within 0.1 s"):
        Git(tmp_path, timeout=0.1).tagged("release/1")


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found"), OSError("no name")])
def test_an_operator_without_a_name(
    repository: Git, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def getuser() -> str:
        raise error

    assert whoami() == getpass.getuser()
    monkeypatch.setattr(getpass, "getuser", getuser)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    assert whoami() == f"uid-{os.getuid()}"
    sha, _ = repository.commit("HEAD")
    repository.tag("release/1", sha, "one")
    tagger = run(repository.root, "for-each-ref", "--format=%(taggername)", "refs/tags")
    assert tagger == f"uid-{os.getuid()}"


# ------------------------------------------------------------------ other repositories


def test_tags_of_another_repository(repository: Git, tmp_path: Path) -> None:
    sha, _ = repository.commit("HEAD")
    repository.tag("release/1", sha, "one")
    run(repository.root, "tag", "light", sha)
    run(repository.root, "tag", "x/refs/tags/light2", sha)
    run(tmp_path, "clone", "-q", "--no-tags", str(repository.root), str(tmp_path / "clone"))
    clone = Git(tmp_path / "clone")
    assert clone.remote_tagged("origin", "release/1") == sha
    assert clone.remote_tagged("origin", "light") == sha
    assert clone.remote_tagged("origin", "light2") is None
    assert clone.tagged("release/1") is None
    clone.fetch_tag("origin", "release/1")
    assert clone.tagged("release/1") == sha
    assert clone.tagged("light") is None
    with pytest.raises(Failed, match="fatal: 'nowhere' does not appear to be a git repository"):
        clone.remote_tagged("nowhere", "release/1")


def test_what_came_before(repository: Git, tmp_path: Path) -> None:
    first, _ = repository.commit("HEAD")
    (repository.root / "x").write_text("")
    second = commit(repository.root, "two")
    assert repository.is_ancestor(first, second)
    assert repository.is_ancestor(first, first)
    assert not repository.is_ancestor(second, first)
    assert not repository.is_ancestor("0" * 40, second)
    url = repository.root.as_uri()
    run(tmp_path, "clone", "-q", "--depth", "1", url, str(tmp_path / "shallow"))
    assert not Git(tmp_path / "shallow").is_ancestor(first, second)


# ------------------------------------------------------------------------- branches


def another(repository: Git) -> str:
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    run(repository.root, *author, "commit", "-q", "--allow-empty", "-m", "more")
    return run(repository.root, "rev-parse", "HEAD")


def test_the_branch_of_a_commit_is_the_one_whose_tip_it_is(repository: Git) -> None:
    first = run(repository.root, "rev-parse", "HEAD")
    assert repository.branch(first) == "main"
    run(repository.root, "checkout", "-q", "-b", "feature/x")
    assert repository.branch(first) == "feature/x", "several end there: the one checked out"
    second = another(repository)
    assert (repository.branch(first), repository.branch(second)) == ("main", "feature/x")
    third = another(repository)
    assert repository.branch(second) is None
    run(repository.root, "checkout", "-q", "--detach")
    assert repository.branch(third) == "feature/x", "a detached HEAD is at a branch's tip"
    run(repository.root, "branch", "other")
    assert repository.branch(third) is None, "it could be either"


def test_a_clone_knows_branches_and_the_default_one_by_its_remote(
    repository: Git, tmp_path: Path
) -> None:
    run(repository.root, "branch", "-m", "trunk")
    run(repository.root, "checkout", "-q", "-b", "feature/x")
    tip = another(repository)
    run(repository.root, "checkout", "-q", "trunk")
    run(tmp_path, "clone", "-q", str(repository.root), "clone")
    clone = Git(tmp_path / "clone")
    assert clone.default_branch() == "trunk"
    assert clone.remote_url() == str(repository.root)
    run(clone.root, "checkout", "-q", "--detach", tip)
    assert clone.branch(tip) == "feature/x"
    assert clone.branch(run(clone.root, "rev-parse", "origin/trunk")) == "trunk"


def test_without_a_remote_the_default_branch_is_main_or_master(repository: Git) -> None:
    assert repository.default_branch() == "main"
    assert repository.remote_url() == ""
    run(repository.root, "branch", "-m", "master")
    assert repository.default_branch() == "master"
    run(repository.root, "branch", "-m", "other")
    assert repository.default_branch() is None
