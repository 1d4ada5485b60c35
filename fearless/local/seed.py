"""Plant a production: a live release of the app as it was before, filled with its data.

`[cloud] seed` names a folder with `overlay/` (files laid over the app's source, so that the
seed is another commit with other code) and `data.py` (`items(table)` yields typed items).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from fearless import names, source
from fearless.errors import ConfigError, FearlessError
from fearless.interfaces import Report, Stack
from fearless.procedure import Procedure, Step
from fearless.project import Project
from fearless.steps.ami import Ami
from fearless.steps.cutover import Cutover
from fearless.steps.gate import ask, candidate
from fearless.steps.image import ContainerImage
from fearless.steps.stack import ReleaseStack

DATE = "20160628"
"""The date in the seed release's name; the commit's own date is fixed to it, too."""


def plant(project: Project, folder: str, report: Report) -> None:
    """Make the seed's stack, fill it and let it go live. Does nothing once something is live.

    Interrupted, it goes on where it stopped. Raises FearlessError as the steps do.
    """
    if project.ledger.live() is not None:
        return
    seed = project.root / folder
    if not (seed / "data.py").is_file():
        raise ConfigError(
            f"{project.file.where('cloud', 'seed')}: there is no {folder}/data.py to take a "
            "production from; remove `seed` to begin without one"
        )
    head, _ = project.git.commit("HEAD")
    overlay = seed / "overlay"
    files = {
        path.relative_to(overlay).as_posix(): path.read_bytes()
        for path in sorted(overlay.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    sha = project.git.overlay(head, project.app.source, files, "Production before Fearless")
    release = names.release(project.app.name, sha, DATE)
    report.line(f"planting a production to replace: {release.stack_name}")
    procedure = _Planting(project, release, report, "fearless local up")
    try:
        procedure.change()
        steps: list[Step] = [ContainerImage(procedure), Ami(procedure), ReleaseStack(procedure)]
        for step in steps:
            if step.find() is None:
                report.line(f"production: {step.name} {step.make().detail}")
        stack = procedure.need_stack()
        count = _fill(project, stack, seed, report)
        report.line(f"production: {count:,} items")
        report.line(f"production: {_FirstCutover(procedure).make().detail}")
    finally:
        procedure.lock.release()


class _Planting(Procedure):
    """The seed's data has been through no transform."""

    @cached_property
    def transforms(self) -> tuple[Any, ...]:
        return ()


class _FirstCutover(Cutover):
    """Going live for the first time, by nobody's leave but the load balancer's."""

    def _check_gates(self, stack: Stack) -> None:
        from fearless.builtin.gates import targets_healthy

        project = self.procedure.project
        gate = targets_healthy(
            project.cloud, timeout=project.config.gates.timeout, report=self.procedure.report
        )
        ask(gate, candidate(self.procedure))


def _fill(project: Project, stack: Stack, seed: Path, report: Report) -> int:
    items = _items(seed / "data.py")
    client = project.cloud.client("dynamodb")
    count = 0

    def write(table: str, batch: list[Any]) -> int:
        pending = {table: [{"PutRequest": {"Item": item}} for item in batch]}
        for attempt in range(20):
            pending = client.batch_write_item(RequestItems=pending)["UnprocessedItems"]
            if not pending:
                return len(batch)
            time.sleep(0.05 * 2 ** min(attempt, 6))
        raise FearlessError(f"table {table} did not take the seed's items")

    with ThreadPoolExecutor(8) as pool:
        for spec in project.tables:
            table = stack.table(spec)
            batches = _batches(items(spec.name))
            for written in pool.map(lambda batch, t=table: write(t, batch), batches):
                count += written
                report.progress("planting items", count)
    return count


def _items(path: Path) -> Any:
    return source.load(path, "fearless_seed").items


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(items)
    while batch := list(islice(source, 25)):
        yield batch
