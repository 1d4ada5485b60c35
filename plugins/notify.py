"""Tell people what happens: here into .fearless/events.jsonl; yours may post to a chat."""

from __future__ import annotations

import json
from pathlib import Path

from fearless import Event, hookimpl

LOG = Path(".fearless") / "events.jsonl"
"""In the project Fearless runs in, whichever commit this file is from."""


@hookimpl
def notify(event: Event) -> None:
    """One JSON object a line; an error here is reported and never stops a release."""
    line = {
        "at": event.at.isoformat(),
        "kind": event.kind,
        "release": event.release.name,
        "sha": event.release.sha,
        "message": event.message,
    }
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line, ensure_ascii=False) + "\n")
