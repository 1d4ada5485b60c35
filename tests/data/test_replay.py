"""Which records an owner who fell silent may have been applying: none that were made after that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fearless.data.replay import SUSPECT_RECORDS, Replay


def replay(**row: Any) -> Replay:
    table: Any = SimpleNamespace(settings=SimpleNamespace(skew=2.0))
    claim: Any = SimpleNamespace(row={"suspect": SUSPECT_RECORDS, **row})
    return Replay(table, claim, lambda *_: [], 0)


def records(*moments: float) -> list[dict[str, Any]]:
    return [{"dynamodb": {"ApproximateCreationDateTime": moment}} for moment in moments]


@pytest.mark.parametrize(
    ("row", "first", "left"),
    [
        ({"unknown_at": 100}, 90.0, SUSPECT_RECORDS),
        ({"unknown_at": 100}, 102.0, SUSPECT_RECORDS),
        ({"unknown_at": 100}, 102.5, 0),
        ({"unknown_at": 0}, 1e9, SUSPECT_RECORDS),
        ({}, 1e9, SUSPECT_RECORDS),
        ({"suspect": 7, "unknown_at": 100}, 90.0, 7),
        ({"suspect": 0, "unknown_at": 100}, 90.0, 0),
    ],
)
def test_what_is_suspect(row: dict[str, Any], first: float, left: int) -> None:
    assert replay(**row)._suspect(records(first, first + 1000)) == left
