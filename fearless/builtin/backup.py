"""On-demand backups of a stack's tables, which outlive the stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from fearless.builtin.aws import explained
from fearless.errors import FearlessError
from fearless.interfaces import Report

NAME = "fearless-last"
"""Backups of this name are ours: a table has one, made when nobody could write it any more."""

LIMIT = 3600.0
"""Seconds a backup may take. AWS makes those of any size within seconds to minutes."""


def back_up(
    client: Any,
    tables: Sequence[str],
    report: Report,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Back up each table once, and wait until all are available; their ARNs, in order.

    Raises FearlessError when one does not get ready.
    """
    with explained("backing up tables"):
        arns = [_begun(client, table) for table in tables]
        deadline = clock() + LIMIT
        for number, (table, arn) in enumerate(zip(tables, arns, strict=True)):
            while (status := _status(client, arn)) != "AVAILABLE":
                if status != "CREATING" or clock() > deadline:
                    raise FearlessError(
                        f"the backup of {table} is {status}, not AVAILABLE; nothing was deleted"
                    )
                report.progress("backup", number, len(tables), table)
                sleep(1.0)
    return arns


def _begun(client: Any, table: str) -> str:
    """The backup of this very table that there is already, or a new one."""
    table_id = client.describe_table(TableName=table)["Table"]["TableId"]
    request: dict[str, Any] = {"TableName": table, "BackupType": "USER"}
    while True:
        page = client.list_backups(**request)
        for found in page["BackupSummaries"]:
            if found["BackupName"] == NAME and found["TableId"] == table_id:
                return str(found["BackupArn"])
        if "LastEvaluatedBackupArn" not in page:
            made = client.create_backup(TableName=table, BackupName=NAME)
            return str(made["BackupDetails"]["BackupArn"])
        request["ExclusiveStartBackupArn"] = page["LastEvaluatedBackupArn"]


def _status(client: Any, arn: str) -> str:
    found = client.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]
    return str(found["BackupStatus"])
