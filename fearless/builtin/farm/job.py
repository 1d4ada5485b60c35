"""One build, in a process of its own: what ends the process ends the build, in the engine too.

It reads one JSON object from stdin, `{"order", "root", "slot", "mirrors", "url"}`, and writes one
on each line of stdout: `{"line"}` while it works, and `{"image"}` or `{"failed", "again"}` at last.
When stdin is closed, its worker is gone, and it ends.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fearless import config, names
from fearless.branch_alias import alias_branch
from fearless.builtin.farm.message import InvalidMessage, Options, Order, parse
from fearless.builtin.farm.mirror import Absent, Mirror
from fearless.builtin.farm.options import options_of
from fearless.builtin.farm.redact import Redactor, of_environment
from fearless.builtin.farm.tail import Tail
from fearless.dockerfile import DockerfileError
from fearless.errors import ConfigError, FearlessError, Refused, explain
from fearless.interfaces import BuildContext, Image, Release, RemoteRegistry, Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fearless.project import Project


_LOG = re.compile(r" \(log: [^()]*\)$")
"""Where the log is on this machine, which is not where anybody reads it."""


class Again(FearlessError):
    """It failed by something that is not the commit's fault: worth another try."""


class Lines:
    """A Report for the log: its lines. What is under way is in what the engine itself says."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit

    def line(self, text: str) -> None:
        """A line of the log, unless it repeats the engine."""
        if not text.startswith("| "):
            self._emit(text)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Nothing."""


def perform(order: Order, project: Project, mirror: Mirror, work: Path, report: Report) -> Image:
    """Build what is ordered and push it; an image that the registry has already is the answer.

    Raises Again for what may go better another time, another FearlessError for what will not.
    """
    with _again("the repository", keep=(Absent,)):
        mirror.update(order.sha)
    options = committed(order, mirror, work)
    if options != order.options:
        raise InvalidMessage(
            f"the message and release.toml at {order.sha[:10]} differ: "
            f"{_difference(order.options, options)}; commit and push, then send again"
        )
    release = _release(order, mirror)
    registry = project.registry
    with _again("the registry"):
        found = registry.find(release)
    if found is not None:
        report.line(f"{found.reference} is in the registry already")
        return found
    project.git = mirror  # which knows the branches, and the default one
    image = _build(order, release, mirror, project, work, report)
    with _again("the registry"):
        pushed = registry.push(image)
        found = registry.find(release)
    if found is None or found.digest != pushed.digest:
        raise Again(
            f"the registry answers {found.digest if found else 'nothing'} after a push of "
            f"{pushed.digest}"
        )
    alias_branch(project, release, pushed, report)
    return pushed


def committed(order: Order, mirror: Mirror, work: Path) -> Options:
    """What the commit's own release.toml says is to be built."""
    folder = "" if order.options.folder == "." else f"{order.options.folder}/"
    file = work / "release.toml"
    file.write_bytes(mirror.read(order.sha, f"{folder}release.toml"))
    return options_of(config.read(file), order.options.folder)


def _build(
    order: Order, release: Release, mirror: Mirror, project: Project, work: Path, report: Report
) -> Image:
    from fearless.builtin.builds.progress import BuildFailed, EngineLost
    from fearless.builtin.docker import DockerBuilder

    options = order.options
    parts = [part for part in (options.folder, options.source) if part != "."]
    source = "/".join(parts) or "."
    if not mirror.has(order.sha, f"{'' if source == '.' else source + '/'}{options.dockerfile}"):
        raise ConfigError(f"there is no {options.dockerfile} in {source} at {order.sha[:10]}")
    context = mirror.archive(order.sha, source, work / "context.tar")
    builder = DockerBuilder(
        project,
        dockerfile=options.dockerfile,
        target=options.target,
        args=dict(options.args),
        timeout=options.timeout,
        network=options.network,
        buildkit=options.buildkit,
    )
    with _again("the build", keep=(BuildFailed, DockerfileError)):
        log = project.directory / "build" / release.sha / "docker.log"
        try:
            with Tail(log, report.line):
                return builder.build(release, BuildContext(context, options.dockerfile), report)
        except EngineLost as error:
            raise Again(str(error.args[0])) from error


def _release(order: Order, mirror: Mirror) -> Release:
    sha, date = mirror.commit(order.sha)
    app = order.options.app
    if order.branch is not None:
        return names.devstack(app, order.branch, sha, date)
    return names.release(app, sha, date)


def _difference(asked: Options, committed: Options) -> str:
    there = committed.model_dump()
    for name, value in asked.model_dump().items():
        if value != there[name]:
            return f"`{name}` is {_quoted(name, value)}, not {_quoted(name, there[name])}"
    return "nothing"


def _quoted(name: str, value: Any) -> str:
    return ", ".join(sorted(value)) or "nothing" if name == "args" else repr(value)


@contextmanager
def _again(what: str, keep: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Take errors for bad luck, but for those that will be the same the next time."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (ConfigError, Refused, *keep)):
            raise
        explained = explain(error)
        if explained is None:
            raise
        raise Again(f"{what}: {explained.args[0]}") from error


def slot_project(root: Path, slot: Path) -> Project:
    """The worker's project with its registry, whose own files lie in the slot's folder."""
    from fearless.project import Project

    here = Project(root)
    shutil.rmtree(slot, ignore_errors=True)
    slot.mkdir(parents=True)
    return Project(slot, ops=root).using(cloud=here.cloud, registry=here.registry)


def main() -> int:
    """Read the job, do it, answer."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints must not spoil the answer
    job: Mapping[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    _emit(out, _answer(job, lambda text: _emit(out, {"line": text})))
    return 0


def _answer(job: Mapping[str, Any], emit: Callable[[str], None]) -> dict[str, Any]:
    slot = Path(job["slot"])
    clean = Redactor(of_environment(os.environ))
    try:
        order = parse(job["order"])
        project, secrets = _set_up(Path(job["root"]), slot)
        clean = Redactor([*of_environment(os.environ), *secrets])
        report = Lines(lambda text: emit(clean(text)))
        mirror = Mirror(Path(job["mirrors"]), order.repository, job["url"])
        with tempfile.TemporaryDirectory(dir=slot, prefix="build-") as work:
            image = perform(order, project, mirror, Path(work), report)
    except Exception as error:  # noqa: BLE001 (the worker goes on whatever happens here)
        explained = explain(error)
        if explained is None:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            return {"failed": clean(f"a defect in the build's process: {text}"), "again": True}
        again = isinstance(explained, Again) or explained is not error
        return {"failed": clean(_LOG.sub("", str(explained.args[0]))), "again": again}
    return {"image": asdict(image)}


def _set_up(root: Path, slot: Path) -> tuple[Project, list[str]]:
    """The slot's project, and its secrets. What is wrong with it is not the commit's fault."""
    try:
        project = slot_project(root, slot)
        return project, _secrets(project)
    except FearlessError as error:
        raise Again(f"the worker's own project: {error.args[0]}") from error


def _secrets(project: Project) -> list[str]:
    """What this process signs in with, at AWS and at the registry."""
    keys = project.cloud.credentials().get_frozen_credentials()
    found = [keys.secret_key, keys.token]
    if isinstance(project.registry, RemoteRegistry):
        login = project.registry.login()
        found.append(login.password if login else "")
    return [secret for secret in found if secret]


def _emit(out: IO[str], value: Mapping[str, Any]) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()


def _end_with_stdin() -> None:
    while os.read(0, 4096):  # not by sys.stdin: its lock would be held when this process ends
        pass
    os.killpg(0, signal.SIGKILL)  # git too; this process leads its group


if __name__ == "__main__":
    sys.exit(main())
