"""The notifier of plugins/: one JSON object a line."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fearless import Event, Release
from tests import shop_app


def test_events_are_appended_in_the_project_whichever_commit_wrote_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = tmp_path / ".fearless" / "exports" / ("4f" * 20) / "plugins" / "notify.py"
    exported.parent.mkdir(parents=True)
    shutil.copyfile(shop_app.PLUGINS / "notify.py", exported)
    monkeypatch.chdir(tmp_path)
    notify = shop_app.load(exported, "notify_plugin")
    release = Release("shop", "4f" * 20, "20261123-4f4f4f4", "release/1", "shop-r-1")
    at = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    for kind, message in (("step_done", "stack: up"), ("live", "Zoë is live")):
        notify.notify(Event(kind, release, message, at))
    assert [path.name for path in tmp_path.rglob("*.jsonl")] == ["events.jsonl"]
    lines = (tmp_path / ".fearless" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "at": "2026-11-23T12:00:00+00:00",
            "kind": kind,
            "release": "20261123-4f4f4f4",
            "sha": "4f" * 20,
            "message": message,
        }
        for kind, message in (("step_done", "stack: up"), ("live", "Zoë is live"))
    ]
