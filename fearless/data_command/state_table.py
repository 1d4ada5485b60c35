"""The table that data runs of the command line remember themselves in, at the target."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from fearless.data_command.sides import Side
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Report

NAME = "fearless-state"
KEYS = {"HASH": "pk", "RANGE": "sk"}
PATIENCE = 120.0


def exists(side: Side, name: str) -> bool:
    """Whether it is there. Raises Refused when another table has its name."""
    found = _found(side, name)
    if found is not None:
        _check(found, name)
    return found is not None


def ensure(
    side: Side, name: str, report: Report, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Create it when it is not there; return when it can be used.

    It costs only what is used, cannot be deleted by accident, and can be restored to any second,
    as far as the endpoint has all that.
    """
    if not exists(side, name):
        report.line(f"creating the table {name} in {side.place}, where the run is remembered")
        try:
            side.control.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": a, "KeyType": kind} for kind, a in KEYS.items()],
                AttributeDefinitions=[
                    {"AttributeName": a, "AttributeType": "S"} for a in KEYS.values()
                ],
                BillingMode="PAY_PER_REQUEST",
                DeletionProtectionEnabled=True,
                Tags=[{"Key": "fearless:kind", "Value": "data-state"}],
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUseException":
                raise
    deadline = time.monotonic() + PATIENCE
    while (table := _found(side, name)) is None or table["TableStatus"] != "ACTIVE":
        if time.monotonic() > deadline:
            raise FearlessError(f"the table {name} is not ACTIVE after {PATIENCE:.0f} s: try again")
        sleep(0.5)
    _check(table, name)
    _restorable(side, name)


def _restorable(side: Side, name: str) -> None:
    """Point-in-time recovery, unless it is on or the endpoint has none."""
    try:
        found = side.control.describe_continuous_backups(TableName=name)
        backups = found["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        if backups.get("PointInTimeRecoveryStatus") != "ENABLED":
            side.control.update_continuous_backups(
                TableName=name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )
    except ClientError as error:
        if error.response["Error"]["Code"] not in _LACKING:
            raise


_LACKING = frozenset(
    {
        "AccessDeniedException",
        "ContinuousBackupsUnavailableException",
        "UnknownOperationException",
        "ValidationException",
    }
)
"""Answers that mean: without it, then."""


def _found(side: Side, name: str) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = side.control.describe_table(TableName=name)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    return answer


def _check(table: Mapping[str, Any], name: str) -> None:
    keys = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
    if keys != KEYS:
        raise Refused(
            f"{name} is not a state table (its key is {', '.join(keys.values())}, not pk, sk): "
            "name another with --state-table"
        )
