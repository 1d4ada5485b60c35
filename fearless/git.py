"""What Fearless asks of git: SHAs, tags, and the files of one SHA."""

from __future__ import annotations

import getpass
import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fearless.errors import ConfigError, FearlessError


class Git:
    """A repository. Every method asks it again; nothing is remembered."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prefix(self) -> str:
        """The path of `root` inside the repository, with a final slash, or an empty string."""
        return self._run("rev-parse", "--show-prefix")

    def commit(self, ref: str) -> tuple[str, str]:
        """The SHA and the date (YYYYMMDD, in UTC) of the commit a ref names, asked at once."""
        form = ("--format=%H %cd", "--date=format-local:%Y%m%d")
        try:
            answer = self._run("log", "-1", *form, ref, "--", env={"TZ": "UTC"})
        except FearlessError as error:
            if "not a git repository" in str(error) or "dubious ownership" in str(error):
                raise ConfigError(f"{self.root}: {error.args[0]}; a release is a git SHA") from None
            if ref == "HEAD":
                raise ConfigError(f"{self.root} has no commit yet; commit first") from None
            raise ConfigError(
                f"{ref!r} names no commit in {self.root}; give a SHA, a tag or a branch that "
                "`git rev-parse` knows"
            ) from None
        sha, date = answer.split()
        return sha, date

    def changes(self) -> list[str]:
        """Tracked files that differ from HEAD, as `git status` prints them."""
        lines = self._run("status", "--porcelain", "--untracked-files=no", strip=False)
        return [line for line in lines.splitlines() if line]

    def tagged(self, tag: str) -> str | None:
        """The SHA of the commit a tag points at, or None."""
        try:
            return self._run("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
        except FearlessError:
            return None

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
            tarfile.open(fileobj=io.BytesIO(raw)) as source,
            tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as target,
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
        with tarfile.open(fileobj=io.BytesIO(raw)) as source:
            source.extractall(partial, filter="data")
        try:
            partial.rename(into)
        except OSError:
            shutil.rmtree(partial)
            if not into.is_dir():
                raise

    def has(self, sha: str, path: str) -> bool:
        """Whether `path` exists at `sha`."""
        try:
            self._run("cat-file", "-e", f"{sha}:{self.prefix()}{path}")
        except FearlessError:
            return False
        return True

    def overlay(self, sha: str, folder: str, files: Mapping[str, bytes], message: str) -> str:
        """A commit like `sha` with some files under `folder` replaced; its SHA.

        It is written to the object database only: no branch, no work tree, no index. Author,
        date and message are fixed, so that the same input gives the same SHA.
        """
        index = self.root / ".fearless" / "overlay.index"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)
        env = {"GIT_INDEX_FILE": str(index)}
        self._run("read-tree", sha, env=env)
        for name, content in files.items():
            blob = self._run("hash-object", "-w", "--stdin", stdin=content)
            path = f"{self.prefix()}{folder}/{name}"
            self._run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=env)
        tree = self._run("write-tree", env=env)
        index.unlink(missing_ok=True)
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

    def _identity(self) -> dict[str, str]:
        email = subprocess.run(
            ["git", "-C", str(self.root), "config", "user.email"], capture_output=True, text=True
        )
        if email.returncode == 0 or "GIT_COMMITTER_EMAIL" in os.environ:
            return {}
        user = getpass.getuser()
        address = f"{user}@{socket.gethostname()}"
        return {"GIT_COMMITTER_NAME": user, "GIT_COMMITTER_EMAIL": address}

    def _run(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        strip: bool = True,
    ) -> str:
        text = self._bytes(*argv, env=env, stdin=stdin).decode()
        return text.strip() if strip else text

    def _bytes(
        self, *argv: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> bytes:
        try:
            done = subprocess.run(
                ["git", "-C", str(self.root), *argv],
                capture_output=True,
                input=stdin,
                env={**os.environ, **(env or {}), "GIT_TERMINAL_PROMPT": "0"},
                timeout=120,
            )
        except FileNotFoundError:
            raise FearlessError("git is not installed; a release is a git SHA") from None
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip().splitlines()
            raise FearlessError(f"git: {reason[-1] if reason else 'failed'}")
        return done.stdout
