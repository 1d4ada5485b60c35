"""Backups of a stack's tables: complete, one of each, and never of another table's name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from fearless.builtin.backup import back_up
from fearless.errors import FearlessError
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import SilentReport


@pytest.fixture
def names(emulator: Emulator) -> Iterator[list[str]]:
    client = emulator.client("dynamodb")
    made = [f"backed-up-{uuid.uuid4().hex[:6]}" for _ in range(2)]
    for name in made:
        create(client, name)
    yield made
    for name in made:
        client.delete_table(TableName=name)


def create(client: Any, name: str) -> None:
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.put_item(TableName=name, Item={"id": {"S": name}})


def test_every_table_once_however_often(
    emulator: Emulator, names: list[str], report: SilentReport
) -> None:
    client = emulator.client("dynamodb")
    first = back_up(client, names, report)
    assert back_up(client, names, report) == first
    restored = f"restored-{uuid.uuid4().hex[:6]}"
    client.restore_table_from_backup(TargetTableName=restored, BackupArn=first[1])
    (item,) = client.scan(TableName=restored)["Items"]
    assert item["id"]["S"] == names[1]
    client.delete_table(TableName=restored)


def test_a_table_made_anew_under_the_name_has_none(
    emulator: Emulator, names: list[str], report: SilentReport
) -> None:
    client = emulator.client("dynamodb")
    first = back_up(client, names[:1], report)
    client.delete_table(TableName=names[0])
    create(client, names[0])
    assert back_up(client, names[:1], report) != first


class Slow:
    """A service whose backup gets no further than a status."""

    def __init__(self, statuses: list[str]) -> None:
        self.statuses = statuses

    def describe_table(self, **_: Any) -> Any:
        return {"Table": {"TableId": "id"}}

    def list_backups(self, **_: Any) -> Any:
        return {"BackupSummaries": []}

    def create_backup(self, **_: Any) -> Any:
        return {"BackupDetails": {"BackupArn": "arn:backup"}}

    def describe_backup(self, **_: Any) -> Any:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"BackupDescription": {"BackupDetails": {"BackupStatus": status}}}


def test_it_waits_until_a_backup_is_complete(report: SilentReport) -> None:
    slept: list[float] = []
    client = Slow(["CREATING", "CREATING", "AVAILABLE"])
    assert back_up(client, ["t"], report, sleep=slept.append) == ["arn:backup"]
    assert len(slept) == 2


@pytest.mark.parametrize("status", ["CREATING", "DELETED"])
def test_a_backup_that_does_not_get_ready(report: SilentReport, status: str) -> None:
    times = iter([0.0, *[5000.0] * 9])
    with pytest.raises(FearlessError, match=f"the backup of t is {status}, not AVAILABLE"):
        back_up(Slow([status]), ["t"], report, clock=lambda: next(times), sleep=lambda _: None)
