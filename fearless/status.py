"""What `doit status` and `doit releases` tell: collected from the world, printed for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fearless.lock import Lock
from fearless.procedure import Procedure
from fearless.project import Project


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


def collect(procedure: Procedure) -> dict[str, Any]:
    """The whole state as one JSON-able object: live, candidates, devstacks, kept, lock."""
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
            }
        elif stack.kind == "dev":
            branch = stack.tags.get("fearless:branch")
            deployed = (ledger.get("DEV", str(branch)) or {}).get("sha", stack.sha)
            result["devstacks"].append({**entry, "branch": branch, "sha": deployed})
        elif stack.id in records:
            result["former"].append(entry)
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
    else:
        lines.append("  live       nothing yet: `doit release` makes the first release")
    for title, key in (("candidate", "candidates"), ("former", "former"), ("dev", "devstacks")):
        for entry in status[key]:
            branch = f"  {entry['branch']}" if entry.get("branch") else ""
            lines.append(
                f"  {title:<9}  {entry['release']}  {entry['sha'][:10]}  {entry['stack']}"
                f"  {entry['url'] or entry['status']}{branch}"
            )
    lock = status["lock"]
    if lock:
        lines.append(
            f"  lock       {lock['holder']} (pid {lock['pid']}) since {when(lock['since'])}, "
            f"doing `{lock['doing']}`"
        )
    return "\n".join(lines)


def releases(records: Iterable[Mapping[str, Any]], live_sha: str | None) -> list[dict[str, Any]]:
    """Every release with its state: live, candidate, former or deleted; oldest first."""
    return [{**record, "state": _state(record, live_sha)} for record in records]


def describe_releases(entries: Iterable[Mapping[str, Any]]) -> str:
    """The history for people, newest first."""
    lines = [
        f"  {entry['name']:<18} {entry['state']:<10} {entry['sha'][:10]}  {entry['stack']:<24}"
        f" created {when(entry['created'])}"
        + (f", live {when(entry['live_since'])}" if "live_since" in entry else "")
        for entry in entries
    ]
    return "\n".join(reversed(lines)) or "  no release yet: `doit release` makes the first"


def when(at: float) -> str:
    """A Unix time as people read it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _state(record: Mapping[str, Any], live_sha: str | None) -> str:
    if record["sha"] == live_sha:
        return "live"
    if "deleted_at" in record:
        return "deleted"
    return "former" if "went_live" in record else "candidate"
