"""The policy documents of fences: who may not write which tables, and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

WRITES = (
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
)
"""Every action that changes an item; a transaction needs those of its parts."""

TIME = "%Y-%m-%dT%H:%M:%SZ"
VERSION = "2012-10-17"

Document = dict[str, Any]


def open_policy(tables: Sequence[str]) -> Document:
    """Allow writing to the tables of these ARNs."""
    return _policy("Allow", tables)


def fence_policy(tables: Sequence[str], until: datetime | None) -> Document:
    """Deny writing to them, whatever else allows it: for good, or until a moment (UTC)."""
    policy = _policy("Deny", tables)
    if until is not None:
        policy["Statement"][0]["Condition"] = _before(until)
    return policy


def fence_statement(
    sid: str, table: str, principals: Sequence[str], until: datetime | None
) -> Document:
    """A table's own denial of writes to everybody but the principals of these ARNs."""
    condition: Document = {"ArnNotLike": {"aws:PrincipalArn": sorted(principals)}}
    if until is not None:
        condition |= _before(until)
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": list(WRITES),
        "Resource": table,
        "Condition": condition,
    }


def principals(caller: str) -> tuple[str, ...]:
    """What `aws:PrincipalArn` says of whoever STS calls by this ARN: for a session, its role.

    A session's ARN does not tell the role's path, so there are two patterns.
    """
    head, session, rest = caller.partition(":assumed-role/")
    if not session:
        return (caller,)
    account = head.replace(":sts:", ":iam:")
    role = rest.partition("/")[0]
    return (f"{account}:role/{role}", f"{account}:role/*/{role}")


def lifts(statement: Mapping[str, Any]) -> datetime | None:
    """When a denial lifts itself (UTC); None: never."""
    until = statement.get("Condition", {}).get("DateLessThan", {}).get("aws:CurrentTime")
    return datetime.strptime(until, TIME).replace(tzinfo=UTC) if until else None


def fenced(policy: Mapping[str, Any], now: datetime) -> bool:
    """Whether a fence policy holds at a moment."""
    until = lifts(policy["Statement"][0])
    return until is None or now < until


def _before(until: datetime) -> Document:
    return {"DateLessThan": {"aws:CurrentTime": until.strftime(TIME)}}


def _policy(effect: str, tables: Sequence[str]) -> Document:
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Sid": f"Fearless{effect}Writes",
                "Effect": effect,
                "Action": list(WRITES),
                "Resource": sorted(tables),
            }
        ],
    }
