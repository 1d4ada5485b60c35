"""What a finished (or waiting) release says at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fearless.procedure import Procedure, when


def summarise(procedure: Procedure, made: list[str]) -> dict[str, Any]:
    """URL, release, SHA, items and times, from the ledger; `made` are the steps of this run."""
    steps = procedure.ledger.steps(procedure.release)
    copy = steps["copy"].data if "copy" in steps else {}
    sync = steps["sync"].data if "sync" in steps else {}
    cutover = steps["cutover"].data if "cutover" in steps else {}
    live = procedure.live()
    stack = procedure.stack()
    is_live = procedure.is_live
    url = procedure.public_url() if is_live else procedure.url(stack) if stack else None
    return {
        "app": procedure.release.app,
        "release": procedure.release.name,
        "sha": procedure.release.sha,
        "tag": procedure.release.tag,
        "stack": procedure.release.stack_name,
        "live": is_live,
        "since": live.since if live and is_live else None,
        "url": url,
        "items": {
            "copied": copy.get("read", 0),
            "written": copy.get("written", 0),
            "migrated": copy.get("migrated", 0),
            "dropped": copy.get("dropped", 0),
            "quarantined": copy.get("quarantined", 0),
            "synced": sync.get("applied", 0),
        },
        "write_pause": cutover.get("write_pause"),
        "steps": {name: record.seconds for name, record in steps.items()},
        "made": made,
    }


def describe(summary: Mapping[str, Any]) -> str:
    """The summary for people."""
    app, name = summary["app"], summary["release"]
    if summary["live"] and not [step for step in summary["made"] if step != "retire"]:
        return (
            f"Nothing to do: {app} {name} is live at {summary['url']} "
            f"since {when(summary['since'])}"
        )
    items = summary["items"]
    lines = [
        f"{app} {name} is {'live' if summary['live'] else 'ready to go live'}",
        f"  url       {summary['url']}",
        f"  sha       {summary['sha']}",
        f"  stack     {summary['stack']}",
        f"  items     {items['copied']:,} copied, {items['migrated']:,} migrated, "
        f"{items['dropped']:,} dropped, {items['written']:,} written; "
        f"{items['synced']:,} changes synced",
    ]
    if summary["write_pause"] is not None:
        lines.append(f"  writes    paused for {summary['write_pause']:.1f} s during the cutover")
    order = ("tag", "image", "ami", "stack", "copy", "sync", "gate", "cutover", "retire")
    steps: dict[str, float] = {}
    for name, seconds in summary["steps"].items():
        step = name.partition(":")[0]
        steps[step] = steps.get(step, 0.0) + seconds
    times = {step: steps[step] for step in order if step in steps}
    told = ", ".join(f"{step} {seconds:.1f}" for step, seconds in times.items())
    lines.append(f"  seconds   {told}; {sum(times.values()):.1f} in all")
    if not summary["live"]:
        lines.append(f"  next      doit cutover sha={summary['sha']}")
    return "\n".join(lines)
