"""What Fearless asks of git: SHAs, tags, and the files of one SHA."""

from __future__ import annotations

import getpass
import io
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fearless.errors import ConfigError, FearlessError

OPS = ("dodo.py", "release.toml", "plugins", "templates", "packer")
"""The ops code of a project: what a release is made with, besides the app's own files."""


class Failed(FearlessError):
    """git ran and said no: there is no such object, a push was rejected and so on."""


class Git:
    """A repository. Every method asks it again; nothing is remembered.

    Every method raises ConfigError where there is no repository that git will read, and
    FearlessError when git is missing or takes longer than `timeout` seconds.
    """

    def __init__(self, root: Path, timeout: float = 120) -> None:
        self.root = root
        self.timeout = timeout

    def prefix(self) -> str:
        """The path of `root` inside the repository, with a final slash, or an empty string."""
        return self._run("rev-parse", "--show-prefix")

    def commit(self, ref: str) -> tuple[str, str]:
        """The SHA and the date (YYYYMMDD, in UTC) of the commit a ref names, asked at once."""
        form = ("--format=%H %cd", "--date=format-local:%Y%m%d")
        try:
            answer = self._run("log", "-1", *form, ref, "--", env={"TZ": "UTC"})
        except Failed:
            if ref == "HEAD":
                raise ConfigError(f"{self.root} has no commit yet; commit first") from None
            raise ConfigError(
                f"{ref!r} names no commit in {self.root}; give a SHA, a tag or a branch that "
                "`git rev-parse` knows"
            ) from None
        sha, date = answer.split()
        return sha, date

    def branch(self, sha: str) -> str | None:
        """The branch whose tip is `sha`: the one checked out, else the only one, here or remote.

        None where no branch ends there, or several do and none of them is checked out.
        """
        form = "--format=%(HEAD)%(refname)"
        where = ("refs/heads", "refs/remotes")
        found = set()
        for line in self._run("for-each-ref", "--points-at", sha, form, *where).splitlines():
            _, kind, name = line[1:].split("/", 2)
            name = name if kind == "heads" else name.partition("/")[2]
            if line.startswith("*"):
                return name
            found.add(name)
        found.discard("HEAD")
        return found.pop() if len(found) == 1 else None

    def default_branch(self, remote: str = "origin") -> str | None:
        """The branch that a clone checks out, as far as this repository knows; else main, master.

        None when it knows of neither.
        """
        try:
            ref = self._run("symbolic-ref", "--quiet", f"refs/remotes/{remote}/HEAD")
            return ref.removeprefix(f"refs/remotes/{remote}/")
        except Failed:
            pass
        known = self._run("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()
        return next((name for name in ("main", "master") if name in known), None)

    def remote_url(self, remote: str = "origin") -> str:
        """Where a remote is, as configured; empty when there is no such remote."""
        return self._setting(f"remote.{remote}.url")

    def changes(self, ops: Sequence[str] = ()) -> list[str]:
        """What differs from HEAD, as `git status --porcelain` prints it, relative to `root`.

        That is every tracked file that was changed, and files nobody added to git (`?? path`)
        at or below the paths `ops`. Ignored files and compiled Python do not count.
        """
        return [*self._changed(), *self._untracked(ops)]

    def tagged(self, tag: str) -> str | None:
        """The SHA of the commit a tag points at, or None."""
        try:
            return self._run("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
        except Failed:
            return None

    def remote_tagged(self, remote: str, tag: str) -> str | None:
        """The SHA of the commit a tag points at in another repository, or None."""
        ref = f"refs/tags/{tag}"
        found = {}
        for line in self._run("ls-remote", remote, ref, f"{ref}^{{}}").splitlines():
            sha, _, name = line.partition("\t")
            found[name] = sha
        return found.get(f"{ref}^{{}}") or found.get(ref)

    def fetch_tag(self, remote: str, tag: str) -> None:
        """Fetch one tag and its commits. Raises Failed when a local tag says otherwise."""
        ref = f"refs/tags/{tag}"
        self._run("fetch", "--quiet", "--no-tags", remote, f"{ref}:{ref}")

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` has all that `older` has. False where this clone cannot tell."""
        try:
            self._run("merge-base", "--is-ancestor", older, newer)
        except Failed:
            return False
        return True

    def tag(self, tag: str, sha: str, message: str) -> None:
        """Make an annotated tag, in the operator's name even where git knows none."""
        self._run("tag", "--annotate", "--message", message, tag, sha, env=self._identity())

    def push(self, remote: str, tag: str) -> None:
        """Push one tag."""
        self._run("push", "--quiet", remote, f"refs/tags/{tag}")

    def archive(self, sha: str, folder: str, out: Path) -> Path:
        """Write the files of `folder` at `sha` to the tar file `out`, normalised.

        Owner, mode and time never vary with the machine (uid 0, 644 or 755, mtime 0, sorted),
        so that equal files are equal bytes and no build layer is invalidated by a checkout.
        """
        raw = self._tar(f"{sha}:{self.prefix()}{'' if folder == '.' else folder}")
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".partial")
        with (
            tarfile.open(fileobj=io.BytesIO(raw), encoding="utf-8") as source,
            tarfile.open(partial, "w", format=tarfile.GNU_FORMAT, encoding="utf-8") as target,
        ):
            for member in sorted(source.getmembers(), key=lambda m: m.name):
                member.pax_headers = {}
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mtime = 0
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
        partial.replace(out)
        return out

    def export(self, sha: str, into: Path) -> None:
        """Write the files of this folder at `sha` into the directory `into`, all or nothing."""
        raw = self._tar(f"{sha}:{self.prefix()}")
        into.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=into.parent, prefix="export-"))
        try:
            with tarfile.open(fileobj=io.BytesIO(raw)) as source:
                _extract(source, partial)
            _move(partial, into)
        except tarfile.TarError as error:
            raise FearlessError(f"{sha[:7]} cannot be exported: {error}") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def has(self, sha: str, path: str) -> bool:
        """Whether `path` exists at `sha`."""
        try:
            self._run("cat-file", "-e", f"{sha}:{self.prefix()}{path}")
        except Failed:
            return False
        return True

    def overlay(self, sha: str, folder: str, files: Mapping[str, bytes], message: str) -> str:
        """A commit like `sha` with some files under `folder` replaced; its SHA.

        It is written to the object database only: no branch, no work tree, no index. Author,
        date and message are fixed, so that the same input gives the same SHA.
        """
        with tempfile.TemporaryDirectory(prefix="fearless-index-") as scratch:
            env = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            self._run("read-tree", sha, env=env)
            for name, content in files.items():
                blob = self._run("hash-object", "-w", "--stdin", stdin=content)
                path = f"{self.prefix()}{folder}/{name}"
                self._run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=env)
            tree = self._run("write-tree", env=env)
        fixed = {
            "GIT_AUTHOR_NAME": "Fearless",
            "GIT_AUTHOR_EMAIL": "fearless@localhost",
            "GIT_COMMITTER_NAME": "Fearless",
            "GIT_COMMITTER_EMAIL": "fearless@localhost",
            "GIT_AUTHOR_DATE": "2016-06-28T00:00:00Z",
            "GIT_COMMITTER_DATE": "2016-06-28T00:00:00Z",
        }
        return self._run("commit-tree", tree, "-m", message, env=fixed)

    def _tar(self, tree: str) -> bytes:
        top = self._run("rev-parse", "--show-toplevel")  # below it, git archive looks elsewhere
        return self._bytes("-C", top, "archive", "--format=tar", tree)

    def _changed(self) -> Iterator[str]:
        status = ("--no-optional-locks", "status", "--porcelain", "-z", "--untracked-files=no")
        entries = iter(self._names(*status))
        prefix = self.prefix() or "."
        for entry in entries:
            state, path = entry[:2], os.path.relpath(entry[3:], prefix)
            if state[0] in "RC":
                path = f"{os.path.relpath(next(entries), prefix)} -> {path}"
            yield f"{state} {path}"

    def _untracked(self, paths: Sequence[str]) -> Iterator[str]:
        if not paths:
            return
        others = ("ls-files", "--others", "--exclude-standard", "-z", "--", *paths)
        for path in self._names("--literal-pathspecs", *others):
            if "__pycache__" not in Path(path).parts and not path.endswith(".pyc"):
                yield f"?? {path}"

    def _names(self, *argv: str) -> list[str]:
        """The answer of a command that ends every name with a NUL."""
        text = self._bytes(*argv).decode(errors="replace")
        return [name for name in text.split("\0") if name]

    def _identity(self) -> dict[str, str]:
        try:
            self._run("var", "GIT_COMMITTER_IDENT")
        except Failed:
            user = whoami()
            name = self._setting("user.name") or user
            email = self._setting("user.email") or f"{user}@{socket.gethostname()}"
            return {
                "GIT_COMMITTER_NAME": os.environ.get("GIT_COMMITTER_NAME") or name,
                "GIT_COMMITTER_EMAIL": os.environ.get("GIT_COMMITTER_EMAIL") or email,
            }
        return {}

    def _setting(self, key: str) -> str:
        try:
            return self._run("config", key)
        except Failed:
            return ""

    def _run(
        self, *argv: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> str:
        return self._bytes(*argv, env=env, stdin=stdin).decode().strip()

    def _bytes(
        self, *argv: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> bytes:
        english = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        try:
            done = subprocess.run(
                ["git", "-C", str(self.root), *argv],
                capture_output=True,
                input=stdin,
                env={**os.environ, **english, **(env or {})},
                timeout=self.timeout,
            )
        except FileNotFoundError:
            raise FearlessError("git is not installed; a release is a git SHA") from None
        except subprocess.TimeoutExpired:
            command = next(word for word in argv if not word.startswith("-"))
            raise FearlessError(
                f"`git {command}` in {self.root} did not end within {self.timeout:g} s"
            ) from None
        if done.returncode != 0:
            raise self._error(done.stderr.decode(errors="replace"))
        return done.stdout

    def _error(self, stderr: str) -> FearlessError:
        if "not a git repository" in stderr:
            return ConfigError(
                f"{self.root} is not a git repository; a release is a git SHA: run `git init` "
                "there and commit"
            )
        dubious = re.search(r"dubious ownership in repository at '(.+)'", stderr)
        if dubious:
            return ConfigError(
                f"git does not trust {dubious[1]} (dubious ownership: it belongs to another "
                f"user); run `git config --global --add safe.directory {dubious[1]}`"
            )
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal:", "error:"))]
        rejected = [line for line in lines if line.startswith("! [")]
        why = f" ({rejected[0].removeprefix('! ')})" if rejected else ""
        return Failed(f"git: {(told or lines[-1:] or ['failed'])[0]}{why}")


def whoami() -> str:
    """The operator's login name; `uid-<n>` where the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def _move(folder: Path, into: Path) -> None:
    try:
        folder.rename(into)
    except OSError:
        if not into.is_dir():
            raise


def _extract(source: tarfile.TarFile, into: Path) -> None:
    """Unpack, with nothing ever outside `into`. Python 3.11 has filters since 3.11.4 only."""
    if hasattr(tarfile, "data_filter"):
        source.extractall(into, filter="data")
        return
    for member in source.getmembers():
        _refuse_outside(member, into.resolve())
        member.mode &= 0o755
        source.extract(member, into)


def _refuse_outside(member: tarfile.TarInfo, into: Path) -> None:
    """Raise TarError for a member that is no file, folder or link inside of `into`."""
    path = into / member.name
    inside = [path.parent if member.issym() else path]
    if member.issym():
        inside.append(path.parent / member.linkname)
    elif member.islnk():
        inside.append(into / member.linkname)
    elif not (member.isreg() or member.isdir()):
        raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder nor a link")
    if any(not found.resolve().is_relative_to(into) for found in inside):
        raise tarfile.TarError(f"{member.name!r} would be outside the destination")
