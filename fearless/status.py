"""What `doit status` and `doit releases` tell: collected from the world, printed for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fearless.errors import FearlessError
from fearless.lock import Lock
from fearless.procedure import Procedure, when
from fearless.project import Project
from fearless.steps.late import seen, told
from fearless.steps.way_back import before, way_back

KEPT = 24 * 3600.0
"""Seconds for which a stream keeps what nobody has carried back."""


def empty(project: Project, running: bool) -> dict[str, Any]:
    """The status of a cloud that does not answer, or in which nothing is yet."""
    return {
        "app": project.app.name,
        "cloud": {"use": project.config.cloud.use, "running": running},
        "live": None,
        "candidates": [],
        "former": [],
        "devstacks": [],
        "lock": None,
    }


def collect(procedure: Procedure, at: Callable[[str], Project]) -> dict[str, Any]:
    """The whole state as one JSON-able object: live, candidates, devstacks, kept, lock.

    `at` gives the project as it was at a SHA.
    """
    project, ledger = procedure.project, procedure.ledger
    result = empty(project, running=True)
    live = ledger.live()
    stacks = list(project.provisioner.list(project.app.name))
    records = {record.get("went_live"): record for record in ledger.releases()}
    holder = Lock(ledger, "status").holder()
    for stack in stacks:
        entry = {
            "release": stack.release,
            "sha": stack.sha,
            "stack": stack.name,
            "status": stack.status,
            "url": procedure.url(stack) if stack.ready else None,
        }
        if live is not None and stack.id == live.stack_id:
            result["live"] = {
                **entry,
                "url": procedure.public_url(),
                "since": live.since,
                "writable": procedure.writable(stack),
                "way_back": _way_back(procedure, at),
            }
        elif stack.kind == "dev":
            branch = stack.tags.get("fearless:branch")
            deployed = (ledger.get("DEV", str(branch)) or {}).get("sha", stack.sha)
            result["devstacks"].append({**entry, "branch": branch, "sha": deployed})
        elif stack.id in records:
            result["former"].append({**entry, "late": seen(ledger, stack.id)})
        else:
            result["candidates"].append(entry)
    if live is not None and result["live"] is None:
        result["live"] = {
            "release": live.release,
            "sha": live.sha,
            "stack": live.stack,
            "status": "MISSING",
            "url": procedure.public_url(),
            "since": live.since,
        }
    if holder is not None:
        result["lock"] = {
            "holder": f"{holder.user}@{holder.host}",
            "pid": holder.pid,
            "since": holder.since,
            "doing": holder.doing,
        }
    return result


def _way_back(procedure: Procedure, at: Callable[[str], Project]) -> dict[str, Any] | None:
    """What `doit rollback` would lead to; `reason` says why it would not.

    `lag` is in seconds, since the cutover when nothing was carried back yet.
    """
    live = procedure.live()
    former = before(procedure.ledger, live) if live else None
    if live is None or former is None:
        return None
    known = {"release": former.release, "sha": former.sha, "stack": former.stack}
    try:
        project = at(live.sha)
        way = way_back(project)
        if way is None:
            return None
        state = way.state(project)
    except FearlessError as error:
        return {**known, "lag": None, "reason": str(error.args[0])}
    reason = way.one_way or state.one_way or state.reason
    if not reason and state.phase == "none":
        reason = "it was never fixed where it starts"
    lag = procedure.ledger.clock() - live.since if state.lag is None else state.lag
    if not reason and lag > KEPT:
        reason = f"nothing was carried back for {lag / 3600:.0f} hours, and streams keep 24"
    return {**known, "lag": None if reason else lag, "reason": reason}


def describe(status: Mapping[str, Any]) -> str:
    """The status for people."""
    lines = [f"{status['app']} on cloud {status['cloud']['use']!r}"]
    if not status["cloud"]["running"]:
        if status["cloud"]["use"] == "local":
            return lines[0] + ": stopped. `fearless local up` starts it, `doit release` too"
        return lines[0] + ": no answer"
    live = status["live"]
    if live:
        lines.append(
            f"  live       {live['release']}  {live['sha'][:10]}  {live['stack']}  {live['url']}"
            f"  since {when(live['since'])}"
        )
        if not live.get("writable", True):
            lines.append(
                "             WRITES ARE PAUSED by a cutover that is under way or was interrupted; "
                "any `doit release` ends or undoes it"
            )
        lines += _describe_way_back(live.get("way_back"))
    else:
        lines.append("  live       nothing yet: `doit release` makes the first release")
    for title, key in (("candidate", "candidates"), ("former", "former"), ("dev", "devstacks")):
        for entry in status[key]:
            branch = f"  {entry['branch']}" if entry.get("branch") else ""
            lines.append(
                f"  {title:<9}  {entry['release']}  {entry['sha'][:10]}  {entry['stack']}"
                f"  {entry['url'] or entry['status']}{branch}"
            )
            if (row := entry.get("late")) and (why := told(row)):
                lines.append(f"             KEEP IT: {why}")
    lock = status["lock"]
    if lock:
        lines.append(
            f"  lock       {lock['holder']} (pid {lock['pid']}) since {when(lock['since'])}, "
            f"doing `{lock['doing']}`"
        )
    return "\n".join(lines)


def _describe_way_back(way: Mapping[str, Any] | None) -> list[str]:
    if way is None:
        return []
    to = f"  way back   {way['release']}  {way['sha'][:10]}  {way['stack']}"
    if way["reason"]:
        return [f"{to}  NONE: {way['reason']}"]
    soon = "; `doit sync` keeps it open" if way["lag"] > KEPT / 2 else ""
    return [f"{to}  the way back is {way['lag']:.0f} s behind{soon}"]


def releases(records: Iterable[Mapping[str, Any]], live_sha: str | None) -> list[dict[str, Any]]:
    """Every release with its state, oldest first.

    The states are live, candidate, former, rolled-back and deleted.
    """
    return [{**record, "state": _state(record, live_sha)} for record in records]


def describe_releases(entries: Iterable[Mapping[str, Any]]) -> str:
    """The history for people, newest first."""
    lines = [
        f"  {entry['name']:<18} {entry['state']:<11} {entry['sha'][:10]}  {entry['stack']:<24}"
        f" created {when(entry['created'])}"
        + (f", live {when(entry['live_since'])}" if "live_since" in entry else "")
        for entry in entries
    ]
    return "\n".join(reversed(lines)) or "  no release yet: `doit release` makes the first"


def _state(record: Mapping[str, Any], live_sha: str | None) -> str:
    if record["sha"] == live_sha:
        return "live"
    if "deleted_at" in record:
        return "deleted"
    if record.get("rolled_back_at", 0.0) > record.get("live_since", 0.0):
        return "rolled-back"
    return "former" if "went_live" in record else "candidate"
