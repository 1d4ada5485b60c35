"""The way back: what was live before, and what carries the data there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fearless import names
from fearless.errors import FearlessError, Refused
from fearless.interfaces import DataRun, DataState, Release, Stack, TableSpec, Transform
from fearless.ledger import Ledger, Live
from fearless.procedure import not_applied
from fearless.project import Project, transforms


@dataclass(frozen=True)
class WayBack:
    """From the stack that is `live` to the one `before` it. `run` is None without common tables.

    `one_way` says why what was written since cannot be carried back; "" when it can.
    """

    live: Live
    before: Live
    source: Stack
    target: Stack
    run: DataRun | None
    one_way: str

    def state(self, project: Project) -> DataState:
        """How far the data is carried back."""
        return project.store.state(self.run) if self.run else DataState("replay", lag=0.0)

    def ahead(self) -> tuple[str, ...]:
        """The tables that only the live stack has: the former one cannot know their items."""
        tables = {name for name in self.source.outputs if name.startswith("Table")}
        only = tables - set(self.target.outputs)
        return tuple(sorted(name.removeprefix("Table") for name in only))


def before(ledger: Ledger, live: Live) -> Live | None:
    """What was live when this went live; None for the first release, or when nobody wrote it."""
    row = (ledger.get("CUTOVER", live.stack_id) or {}).get("former")
    return Live(**{**row, "transforms": tuple(row["transforms"])}) if row else None


def way_back(project: Project) -> WayBack | None:
    """The way back from what is live; None when nothing was live before it.

    `project` is the project as it was at the live SHA: its transforms lead back. Raises Refused
    when the former stack is there no more.
    """
    ledger = project.ledger
    live = ledger.live()
    former = before(ledger, live) if live else None
    if live is None or former is None:
        return None
    source = _stack(project, live)
    target = _stack(project, former)
    if source is None:
        raise FearlessError(f"the live stack {live.stack} is not there: see docs/recovery.md")
    if target is None:
        raise Refused(
            f"{former.stack}, which was live before {live.stack}, was retired: its data is gone. "
            "To undo a change, release a commit that reverts it (`git revert`)"
        )
    of_live = Release(project.app.name, live.sha, live.release, "", live.stack)
    applied = not_applied(transforms(project, of_live), former.transforms)
    common = tuple(spec for spec in project.tables if _in_both(spec, source, target))
    run = None
    if common:
        run = DataRun(
            names.run_id(source.name, source.id), source, target, common, applied, back=True
        )
    return WayBack(live, former, source, target, run, one_way(applied, common))


def one_way(found: Iterable[Transform], tables: Iterable[TableSpec]) -> str:
    """Why nothing leads back through these transforms; "" when something does."""
    return "; ".join(
        f"{t.name}: {t.irreversible}" if t.irreversible else f"{t.name} has no `down`"
        for t in _of(found, tables)
        if t.down is None
    )


def declared(run: DataRun) -> str:
    """What transforms say that have a `down`, though not for all that there is."""
    found = _of(run.transforms, run.tables)
    return "; ".join(f"{t.name}: {t.irreversible}" for t in found if t.irreversible)


def check_declared(run: DataRun) -> None:
    """Refuse a transform that leads nowhere back, unless it says why it must be so."""
    for transform in _of(run.transforms, run.tables):
        if transform.down is None and not transform.irreversible:
            declare = f'declare `irreversible="why"` in Transform({transform.name!r}, ...)'
            if transform.kind in ("keep-key", "owned"):
                remedy = f"Write its `down`, or {declare}, and commit"
            else:
                remedy = f"Nothing leads back from kind {transform.kind!r}: {declare}, and commit"
            raise Refused(
                f"the transform {transform.name!r} has no `down`: once this release is live, a "
                f"rollback would lose everything written since. {remedy}"
            )


def _of(found: Iterable[Transform], tables: Iterable[TableSpec]) -> list[Transform]:
    touched = {spec.name for spec in tables}
    return [t for t in found if touched.intersection(t.tables)]


def _in_both(spec: TableSpec, source: Stack, target: Stack) -> bool:
    output = f"Table{spec.logical_id}"
    return output in source.outputs and output in target.outputs


def _stack(project: Project, live: Live) -> Stack | None:
    stack = project.provisioner.find(live.stack)
    return stack if stack is not None and stack.id == live.stack_id else None
