"""What is looked at before anything is written: each refusal says the way out."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.tables import TableInfo
from fearless.data_command.sides import Side
from fearless.errors import Refused

SKEW = 60.0
"""Seconds that this machine's clock may differ from the service's."""

FULL = "NEW_AND_OLD_IMAGES"


def check_different(source: Side, target: Side, old: TableInfo, new: TableInfo) -> None:
    """Refuse one table as both sides."""
    if old.arn == new.arn and old.id == new.id and source.url == target.url:
        raise Refused(
            f"source and target are the same table, {old.table} in {source.place}: "
            "name another target"
        )


def check_stream(side: Side, info: TableInfo) -> None:
    """Refuse a source whose changes cannot be followed, with the command that changes it."""
    if info.stream is not None and info.view == FULL:
        return
    on = side.command(
        f"update-table --table-name {info.table} --stream-specification "
        f"StreamEnabled=true,StreamViewType={FULL}"
    )
    if info.stream is None:
        raise Refused(
            f"{info.table} has no stream, so its changes cannot be followed: switch it on with "
            f"`{on}`"
        )
    off = side.command(
        f"update-table --table-name {info.table} --stream-specification StreamEnabled=false"
    )
    raise Refused(
        f"the stream of {info.table} shows {info.view}, and {FULL} is needed; as a stream's view "
        f"cannot be changed, and if nobody else reads it: `{off}`, then `{on}`"
    )


def check_ttl(side: Side, table: str) -> None:
    """Refuse a target that deletes items by itself: it would do so before the source does."""
    try:
        answer = side.control.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    except ClientError as error:
        if _unknown(error):
            return
        raise
    if answer.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        name = answer.get("AttributeName", "ttl")
        off = side.command(
            f"update-time-to-live --table-name {table} "
            f"--time-to-live-specification Enabled=false,AttributeName={name}"
        )
        raise Refused(
            f"TTL is on at the target {table} (attribute {name}): it would delete items that the "
            f"source still has. Switch it off until the cutover: `{off}`"
        )


def check_clock(side: Side, table: str, wall: Callable[[], float] = time.time) -> None:
    """Refuse to work by a clock that is far from the service's."""
    before = wall()
    skew = _skew(side.control.describe_table(TableName=table), before, wall())
    if abs(skew) > SKEW:
        way = "ahead of" if skew > 0 else "behind"
        raise Refused(
            f"this machine's clock is {abs(skew):.0f} s {way} that of DynamoDB in {side.place}, "
            f"and {SKEW:.0f} s is the limit: set it (`timedatectl set-ntp true`)"
        )


def _skew(answer: Any, before: float, after: float) -> float:
    """By how much we are ahead, at least; the Date header is cut to whole seconds."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not date:
        return 0.0
    theirs = parsedate_to_datetime(date).timestamp()
    if before > theirs + 1:
        return before - theirs - 1
    return min(0.0, after - theirs)


def _unknown(error: ClientError) -> bool:
    """Whether the endpoint does not know the operation, as some emulators do not."""
    return str(error.response["Error"]["Code"]) in ("UnknownOperationException", "InvalidAction")
