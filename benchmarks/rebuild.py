"""Seconds to rebuild a container after one line of source changed, on one engine.

Fearless builds from `git archive` of the new commit; `docker build` from the work tree, which is
what people do.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.figures import median, parser, show, spread
from benchmarks.harness import ROOT
from fearless import names
from fearless.builtin.docker import DockerBuilder
from fearless.git import Git
from fearless.interfaces import BuildContext
from fearless.project import Project
from fearless.testing import base_image
from fearless.testing.docker_engine import buildkit_command, running
from fearless.testing.fakes import SilentReport

PROMISE = 15.0
"""Seconds a build takes on a warm worker, says the talk that Fearless comes from."""

SHOP = ROOT / "examples" / "shop"
BASE = "shop-base:1"
FROM = "FROM python:3.11-slim"
INSTALL = "pip install --no-cache-dir -r requirements.txt"
VENDORED = "pip install --no-cache-dir --no-index --find-links /wheels -r requirements.txt"
OURS, PLAIN = "Fearless", "docker build"
OURS_BUILDKIT, PLAIN_BUILDKIT = "Fearless, BuildKit", "docker build, BuildKit"
NOTHING = "Fearless, nocache"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=5, help="rounds, interleaved")
    return made.parse_args(arguments)


def index(client: Any, work: Path, dependencies: bool) -> None:
    """Make `BASE`, the base image with what the shop needs from PyPI as wheels in /wheels."""
    wheels = work / "wheels"
    wheels.mkdir(parents=True)
    (wheels / "keep").touch()
    if dependencies:
        pip = [sys.executable, "-m", "pip", "download", "-qq", "-d", str(wheels)]
        requirements = SHOP / "requirements.txt"
        subprocess.run([*pip, "-r", str(requirements)], check=True, stdout=sys.stderr)
    (work / "Dockerfile").write_text(f"FROM {base_image.NAME}\nCOPY wheels /wheels\n")
    client.images.build(path=str(work), tag=BASE, rm=True)


class Contender:
    """A repository with the shop of its own, and a way to build it. Every layer is its own, too:
    in an engine's cache, all would follow whoever built last."""

    def __init__(self, name: str, root: Path, dependencies: bool) -> None:
        self.name = name
        self.root = root
        self.said = ""
        self._changes = 0
        shutil.copytree(SHOP, root)
        text = (root / "Dockerfile").read_text()
        if not text.startswith(FROM) or INSTALL not in text:
            raise SystemExit(f"{SHOP}/Dockerfile has no `{FROM}` or no `{INSTALL}` any more")
        mine = text.replace(FROM, f'FROM {BASE}\nLABEL contender="{name}"', 1)
        (root / "Dockerfile").write_text(mine.replace(INSTALL, VENDORED))
        if not dependencies:
            (root / "requirements.txt").write_text("")
        self._git("init", "-q", "-b", "main")

    def change(self) -> str:
        """Commit another line of source; its SHA."""
        self._changes += 1
        with (self.root / "shop" / "web.py").open("a") as file:
            file.write(f"CHANGE = '{self.name} {self._changes}'\n")
        self._git("add", "-A")
        self._git("commit", "-qm", f"change {self._changes}")
        return Git(self.root).commit("HEAD")[0]

    def build(self, sha: str) -> None:
        """Build that commit; `said` is how many steps came from the cache."""
        raise NotImplementedError

    def _git(self, *argv: str) -> None:
        author = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
        subprocess.run(["git", "-C", str(self.root), *author, *argv], check=True)


class Ours(Contender):
    """Fearless, with such settings of its builder."""

    def __init__(self, name: str, root: Path, dependencies: bool, **settings: Any) -> None:
        super().__init__(name, root, dependencies)
        self.git, self.directory = Git(root), root / ".fearless"
        project = SimpleNamespace(directory=self.directory, git=self.git)
        self.builder = DockerBuilder(cast(Project, project), **settings)
        (root / ".gitignore").write_text(".fearless\n")

    def build(self, sha: str) -> None:
        """As the image step does, without the push."""
        report = SilentReport()
        release = names.release("shop", sha, self.git.commit(sha)[1])
        archive = self.git.archive(sha, ".", self.directory / "build" / sha / "context.tar")
        self.builder.build(release, BuildContext(archive), report)
        self.said = report.lines[-1].removeprefix("cache: ").partition(",")[0]


class Plain(Contender):
    """The `docker` command, as it is."""

    def __init__(self, name: str, root: Path, dependencies: bool, buildkit: str) -> None:
        super().__init__(name, root, dependencies)
        self.environment = {"DOCKER_BUILDKIT": buildkit, "BUILDKIT_PROGRESS": "plain"}

    def build(self, sha: str) -> None:
        """The work tree."""
        done = subprocess.run(
            ["docker", "build", "--network=none", "-t", f"plain:{sha}", str(self.root)],
            env={**os.environ, **self.environment},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        hits = re.findall(r"^(?: ---> Using cache|#\d+ CACHED)$", done.stdout, re.M)
        self.said = f"{len(hits)} steps"


def contenders(work: Path, full: bool) -> list[Contender]:
    """All of them."""
    return [
        Plain(PLAIN, work / "1", full, buildkit="0"),
        Ours(OURS, work / "2", full, network="none"),
        Plain(PLAIN_BUILDKIT, work / "3", full, buildkit="1"),
        Ours(OURS_BUILDKIT, work / "4", full, network="none", buildkit=True),
        Ours(NOTHING, work / "5", full, network="none", nocache=True),
    ]


def measure(them: Sequence[Contender], rounds: int, warm: int) -> dict[str, list[float]]:
    """Seconds of each round for each contender, after the first so many builds of each."""
    found: dict[str, list[float]] = {contender.name: [] for contender in them}
    for number in range(warm + rounds):
        for contender in them:
            sha = contender.change()
            began = time.perf_counter()
            contender.build(sha)
            if number >= warm:
                found[contender.name].append(time.perf_counter() - began)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = options(arguments)
    os.environ["PATH"] = f"{buildkit_command()}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as directory, running() as engine:
        engine.load_base()
        os.environ["DOCKER_HOST"] = engine.host
        index(engine.client, Path(directory) / "index", dependencies=not asked.quick)
        them = contenders(Path(directory), full=not asked.quick)
        found = measure(them, *((1, 0) if asked.quick else (asked.rounds, 1)))
        version = engine.client.version()["Version"]
    plain, nothing = median(found[PLAIN]), median(found[NOTHING])
    rows = [
        {
            "contender": contender.name,
            **spread("s", found[contender.name]),
            "docker build / it": plain / median(found[contender.name]),
            "nocache / it": nothing / median(found[contender.name]),
            "cache": contender.said,
        }
        for contender in them
    ]
    facts = {
        "ratio": {
            f"promised {PROMISE:.0f} s / Fearless": PROMISE / median(found[OURS]),
            "/ Fearless, BuildKit": PROMISE / median(found[OURS_BUILDKIT]),
        },
        "engine": version,
    }
    show("rebuild", rows, facts, asked.json)


if __name__ == "__main__":
    main()
