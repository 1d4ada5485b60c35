"""Following for ever: changes come through, marks tell how long they take and leave no trace."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from fearless.data.tables import SENTINEL_MARK
from fearless.testing.emulator import Emulator
from tests.data.worlds import FAST, Tables

pytestmark = pytest.mark.slow


class Notes:
    """A report that keeps what progress was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def line(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        self.notes.append(note)


def test_following_for_ever_with_a_heartbeat(emulator: Emulator) -> None:
    tables = Tables(emulator)
    tables.fill(20)
    report = Notes()
    settings = replace(FAST, heartbeat=0.3)
    migration = tables.migration(report, settings=settings)
    migration.copy()
    began = time.monotonic()
    written: list[dict[str, Any]] = []

    def until() -> bool:
        if not written and time.monotonic() - began > 1.0:
            item = tables.all(tables.source("c"))[0] | {"late": {"S": "comer"}}
            written.append(item)
            tables.client.put_item(TableName=tables.source("c"), Item=item)
        there = any("heartbeat" in note for note in report.notes)
        come = any("late" in item for item in tables.all(tables.target("c")))
        return (there and come) or time.monotonic() - began > 20

    state = migration.follow(until)
    assert state.phase == "replay"
    assert state.lag is not None
    assert state.lag < 20
    assert any("heartbeat" in note for note in report.notes), report.notes[-5:]
    assert written
    assert tables.equal(), "the marks were never copied, and are gone from the source"
    for name in tables.names:
        assert not [i for i in tables.all(tables.source(name)) if SENTINEL_MARK in i]
