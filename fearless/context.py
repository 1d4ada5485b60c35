"""The files a container is built from: a tar file, without what .dockerignore leaves out."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from fearless.errors import FearlessError

IGNORE = ".dockerignore"


def glob(pattern: str) -> re.Pattern[str]:
    """A Dockerfile's file pattern: `*` and `?` stop at `/`, `**` does not, `[a-z]` is a class."""
    out = ""
    at = 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            slash = pattern.startswith("**/", at)
            out += "(?:.*/)?" if slash else ".*"
            at += 3 if slash else 2
        elif pattern[at] in "*?":
            out += "[^/]*" if pattern[at] == "*" else "[^/]"
            at += 1
        elif pattern[at] == "[" and "]" in pattern[at + 2 :]:
            end = pattern.index("]", at + 2)
            out += "[" + pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[") + "]"
            at = end + 1
        else:
            at += pattern[at] == "\\" and at + 1 < len(pattern)
            out += re.escape(pattern[at])
            at += 1
    return re.compile(out, re.DOTALL)


def ignoring(lines: Iterable[str]) -> Callable[[str], bool]:
    """Whether a .dockerignore of those lines leaves a path out; the last line that matches wins."""
    rules: list[tuple[re.Pattern[str], bool]] = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        keep = text.startswith("!")
        pattern = posixpath.normpath(text[keep:].strip().lstrip("/") or ".")
        if pattern != ".":
            rules.append((glob(pattern), keep))

    def ignored(path: str) -> bool:
        verdict = False
        for pattern, keep in rules:
            if any(pattern.fullmatch(str(part)) for part in _upwards(path)):
                verdict = not keep
        return verdict

    return ignored


class Context:
    """A build context, read once. Paths are relative to its root, without a leading `./`."""

    def __init__(self, archive: Path, dockerfile: str = "Dockerfile") -> None:
        self.archive = archive
        self.dockerfile = dockerfile
        with tarfile.open(archive) as tar:
            self._members = {_clean(member.name): member for member in tar}
        ignored = ignoring(self.text(IGNORE).splitlines() if IGNORE in self._members else ())
        self.files = {
            name: member
            for name, member in sorted(self._members.items())
            if not member.isdir() and not ignored(name)
        }
        """Files and links that COPY can see, by path."""

    def text(self, name: str) -> str:
        """A text file, ignored or not; FearlessError when it is not in the context."""
        if name not in self._members:
            raise FearlessError(f"there is no {name} in the build context: commit it")
        try:
            return self.read(name).decode()
        except UnicodeDecodeError as error:
            raise FearlessError(f"{name}: not UTF-8 text ({error})") from None

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        with tarfile.open(self.archive) as tar:
            stream = tar.extractfile(self._members[name])
            return stream.read() if stream else b""

    def match(self, pattern: str) -> dict[str, dict[str, str]]:
        """What COPY's source `pattern` names: for each match, its files by path below it.

        A file is `{path: {"": path}}`, a directory `{path: {"a/b": "path/a/b", ...}}`.
        """
        wanted = posixpath.normpath(pattern.lstrip("/") or ".")
        if wanted == ".":
            return {".": {name: name for name in self.files}}
        regex = glob(wanted)
        found: dict[str, dict[str, str]] = {}
        for name in self.files:
            for candidate in _upwards(name):
                if regex.fullmatch(str(candidate)):
                    below = name.removeprefix(str(candidate)).lstrip("/")
                    found.setdefault(str(candidate), {})[below] = name
        return found

    def write(self, out: Path) -> None:
        """The context as a Docker engine wants it: filtered, the Dockerfile always included."""
        always = {self.dockerfile, IGNORE}
        with tarfile.open(self.archive) as source, tarfile.open(out, "w") as target:
            for name, member in sorted(self._members.items()):
                if member.isdir() or name in self.files or name in always:
                    stream = source.extractfile(member) if member.isfile() else None
                    target.addfile(member, stream)


def _upwards(path: str) -> list[PurePosixPath]:
    """A path and the directories it is in, without the context's root."""
    found = PurePosixPath(path)
    return [found, *found.parents][:-1]


def _clean(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")
