"""What a release would do, and whether it could: asked of the world, changing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fearless.errors import ConfigError, FearlessError
from fearless.interfaces import DataRun, DataState, Release, Sample, Transform
from fearless.procedure import Done, Procedure, Step, not_applied
from fearless.project import Project, transforms
from fearless.steps.switch import balancer
from fearless.steps.way_back import check_declared, one_way

SAMPLE = 1000
"""Items a table the transforms are tried on."""


@dataclass(frozen=True)
class Guard:
    """Something that must hold for the cutover; `holds` is None when it cannot be told yet."""

    guard: str
    holds: bool | None
    detail: str


def nothing(project: Project, release: Release, steps: Iterable[str]) -> dict[str, Any]:
    """The plan while no cloud answers: everything is still to do."""
    found = transforms(project, release)
    return {
        "app": release.app,
        "release": release.name,
        "sha": release.sha,
        "cloud": False,
        "live": None,
        "steps": [{"step": name, "done": False, "detail": ""} for name in steps],
        "transforms": [_transform(t, False) for t in found],
        "sample": [],
        "way_back": None,
        "guards": [],
    }


def collect(
    procedure: Procedure, steps: Iterable[tuple[str, Callable[[], Step]]]
) -> dict[str, Any]:
    """The whole plan as one JSON-able object."""
    live = procedure.live()
    run, refused = _run(procedure)
    due: tuple[Transform, ...] = ()
    if live is not None and not procedure.is_live:
        due = not_applied(procedure.transforms, live.transforms)
    samples = _samples(procedure, run)
    state = _state(procedure, run) if run else DataState()
    return {
        **nothing(procedure.project, procedure.release, ()),
        "cloud": True,
        "live": None if live is None else {"release": live.release, "sha": live.sha},
        "steps": [_step(name, make) for name, make in steps],
        "transforms": [_transform(t, t in due) for t in procedure.transforms],
        "sample": [asdict(sample) for sample in samples],
        "way_back": None if run is None else {"one_way": one_way(run.transforms, run.tables)},
        "guards": [asdict(guard) for guard in _guards(procedure, run, state, samples, refused)],
    }


def describe(plan: Mapping[str, Any]) -> str:
    """The plan for people."""
    lines = [f"{plan['app']} {plan['release']}: nothing is changed by looking"]
    if not plan["cloud"]:
        lines.append("  the cloud does not answer, so nothing is there yet")
    lines.append("steps")
    for step in plan["steps"]:
        state = "done " if step["done"] else "to do"
        lines.append(f"  {step['step']:<16} {state}  {step['detail']}".rstrip())
    lines.append("migrations" if plan["transforms"] else "migrations: none")
    for entry in plan["transforms"]:
        tables = ", ".join(entry["tables"])
        will = "will run" if entry["due"] else "not due "
        lines.append(f"  {entry['name']:<16} {will}  {tables}; {entry['way_back']}")
    if plan["sample"]:
        lines.append("migrations tried on a sample, without writing")
    for sample in plan["sample"]:
        lines += [f"  {line}" for line in sample["lines"]]
    if plan["way_back"] is not None:
        why = plan["way_back"]["one_way"]
        lines.append(f"way back: none: {why}" if why else "way back: `doit rollback` loses nothing")
    lines.append("guards" if plan["guards"] else "guards: none to ask yet")
    for guard in plan["guards"]:
        sign = {True: "ok", False: "NO", None: "--"}[guard["holds"]]
        lines.append(f"  {sign}  {guard['guard']:<12} {guard['detail']}")
    return "\n".join(lines)


def _run(procedure: Procedure) -> tuple[DataRun | None, str]:
    """The run there will be, and why there cannot be one."""
    try:
        return procedure.sample_run(), ""
    except ConfigError:
        raise
    except FearlessError as error:
        return None, str(error.args[0])


def _state(procedure: Procedure, run: DataRun) -> DataState:
    if run.source.id == run.target.id:
        return DataState()
    return procedure.project.store.state(run)


def _samples(procedure: Procedure, run: DataRun | None) -> Sequence[Sample]:
    if run is None or not run.transforms:
        return ()
    return procedure.project.store.sample(run, SAMPLE, procedure.report)


def _step(name: str, make: Callable[[], Step]) -> dict[str, Any]:
    try:
        found: Done | None = make().find()
    except ConfigError:
        raise
    except FearlessError as error:
        return {"step": name, "done": False, "detail": str(error.args[0])}
    return {"step": name, "done": found is not None, "detail": found.detail if found else ""}


def _transform(transform: Transform, due: bool) -> dict[str, Any]:
    back = "leads back" if transform.down is not None else "no way back"
    if transform.irreversible:
        back = f"no way back: {transform.irreversible}"
    return {
        "name": transform.name,
        "tables": list(transform.tables),
        "kind": transform.kind,
        "due": due,
        "way_back": back,
    }


def _guards(
    procedure: Procedure,
    run: DataRun | None,
    state: DataState,
    samples: Sequence[Sample],
    refused: str,
) -> Iterator[Guard]:
    """In the order in which a release meets them."""
    yield _asked("work tree", procedure.guard, "it is the commit that is released")
    holder = procedure.lock.holder()
    held = f"held by {holder.user}@{holder.host}, doing `{holder.doing}`" if holder else "free"
    yield Guard("lock", holder is None, held)
    if refused:
        yield Guard("data", False, refused)
    live = procedure.live_stack()
    if live is not None:
        writes = procedure.writable(live)
        paused = f"writes to {live.name} are paused: a cutover is under way or was interrupted"
        yield Guard("production", writes, f"{live.name} takes writes" if writes else paused)
        pointed, domain = procedure.project.dns.current(), procedure.project.domain
        yield Guard("dns", pointed == balancer(live), f"{domain} points at {pointed}")
    if run is None:
        return
    why = one_way(run.transforms, run.tables)
    told = f"none, as declared: {why}" if why else "every migration leads back"
    yield _asked("way back", lambda: check_declared(run), told)
    if samples:
        failed, odd = sum(s.failed for s in samples), sum(s.not_back for s in samples)
        detail = f"{failed:,} items cannot be migrated, {odd:,} do not come back as they were"
        yield Guard("sample", not failed, detail)
    if state.phase == "none":
        yield Guard("copy", None, "not begun")
        return
    yield Guard("copy", state.phase in ("copying", "replay"), state.reason or state.phase)
    yield Guard("quarantine", not state.quarantined, f"{state.quarantined:,} items")
    yield Guard("suspects", not state.suspects, f"{state.suspects:,} items")


def _asked(name: str, ask: Callable[[], None], good: str) -> Guard:
    try:
        ask()
    except FearlessError as error:
        return Guard(name, False, str(error.args[0]))
    return Guard(name, True, good)
