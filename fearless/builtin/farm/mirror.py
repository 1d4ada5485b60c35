"""A worker's own copy of a repository: objects only, nothing is ever checked out of it."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fearless.errors import FearlessError
from fearless.git import Failed, Git

TIMEOUT = 900
REFS = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
_HEAD = re.compile(r"^ref: refs/heads/(\S+)\tHEAD$", re.MULTILINE)


class Absent(FearlessError):
    """The commit is not in the repository."""


class Mirror(Git):
    """The repository at `url` (whatever `git fetch` takes), kept below `folder`.

    What it is called by a message never becomes part of a path.
    """

    def __init__(self, folder: Path, name: str, url: str) -> None:
        super().__init__(folder / hashlib.sha256(name.encode()).hexdigest()[:20], TIMEOUT)
        self.name = name
        self.url = url

    def update(self, sha: str) -> None:
        """Have that commit. Raises Absent when the repository does not have it.

        Any other FearlessError means that the repository cannot be read now.
        """
        with self._lock():
            if not (self.root / ".git" / "HEAD").is_file():
                shutil.rmtree(self.root, ignore_errors=True)
                self.root.mkdir(parents=True)
                self._run("init", "--quiet")
            if self._knows(sha):
                return
            for left in self.root.glob(".git/**/*.lock"):  # of a fetch that was killed
                left.unlink(missing_ok=True)
            self._run("fetch", "--quiet", "--prune", "--no-tags", "--", self.url, *REFS)
            self._follow_head()
            if not self._knows(sha):
                raise Absent(
                    f"commit {sha[:10]} is not in repository {self.name}: push it there, and "
                    "send the build again"
                )

    def read(self, sha: str, path: str) -> bytes:
        """A file of a commit. Raises Absent."""
        try:
            return self._bytes("cat-file", "blob", f"{sha}:{path}")
        except Failed:
            raise Absent(f"commit {sha[:10]} of {self.name} has no {path}") from None

    def _follow_head(self) -> None:
        """Know the default branch, as a clone does."""
        match = _HEAD.search(self._run("ls-remote", "--symref", "--", self.url, "HEAD"))
        if match:
            remote = "refs/remotes/origin"
            self._run("symbolic-ref", f"{remote}/HEAD", f"{remote}/{match[1]}")

    def _knows(self, sha: str) -> bool:
        if not re.fullmatch(r"[0-9a-f]{40}", sha):
            return False
        try:
            self._run("cat-file", "-e", f"{sha}^{{commit}}")
        except Failed:
            return False
        return True

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with self.root.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
