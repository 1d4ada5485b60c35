"""The place in the stream from which everything is replayed, fixed before the first read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import Caller, code, explain
from fearless.data.state import Row
from fearless.data.tables import TableInfo
from fearless.errors import FearlessError, Refused

RETENTION = 23 * 3600


class Gap(FearlessError):
    """Changes of the source were lost to us: the copy cannot be kept in sync from here."""


class Missing(FearlessError):
    """A table is not there."""


@dataclass(frozen=True)
class Listing:
    """A stream as DescribeStream shows it: `now` is the server's clock, in Unix seconds."""

    enabled: bool
    view: str
    shards: Sequence[tuple[str, str | None]]
    ended: frozenset[str]
    now: int

    @property
    def last(self) -> list[str]:
        """Shards that have ended and have no successor."""
        parents = {parent for _, parent in self.shards}
        return sorted(self.ended - parents)


def describe(caller: Caller, client: Any, table: str) -> TableInfo:
    """What the table is now. Raises FearlessError when it is not there."""
    try:
        return TableInfo.of(caller.read(client.describe_table, TableName=table)["Table"])
    except ClientError as error:
        if code(error) == "ResourceNotFoundException":
            raise Missing(f"table {table} does not exist") from error
        raise explain(error, f"describing table {table}") from error


def check_no_expiry(caller: Caller, client: Any, table: str) -> None:
    """Refuse a target that deletes items by itself: it would do so before the source does."""
    try:
        answer = caller.read(client.describe_time_to_live, TableName=table)
    except ClientError as error:
        if code(error) in ("UnknownOperationException", "InvalidAction"):
            return
        raise explain(error, f"looking whether TTL is on at {table}") from error
    found = answer.get("TimeToLiveDescription", {})
    if found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        raise Refused(
            f"TTL is on at {table} (attribute {found.get('AttributeName')}), so it would delete "
            "items that the source still has: leave it out of the template and declare `ttl` "
            "under [tables], and it is switched on when the stack goes live"
        )


def describe_stream(caller: Caller, streams: Any, arn: str) -> Listing:
    """Every shard of the stream. Raises Gap when there is no such stream any more."""
    shards: list[tuple[str, str | None]] = []
    ended: set[str] = set()
    request: dict[str, Any] = {"StreamArn": arn}
    while True:
        try:
            answer = caller.read(streams.describe_stream, **request)
        except ClientError as error:
            if code(error) == "ResourceNotFoundException":
                raise Gap(f"the stream {arn} does not exist any more") from error
            raise
        stream = answer["StreamDescription"]
        shards += [(s["ShardId"], s.get("ParentShardId")) for s in stream["Shards"]]
        for shard in stream["Shards"]:
            if "EndingSequenceNumber" in shard.get("SequenceNumberRange", {}):
                ended.add(shard["ShardId"])
        if "LastEvaluatedShardId" not in stream:
            break
        request["ExclusiveStartShardId"] = stream["LastEvaluatedShardId"]
    date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    return Listing(
        enabled=stream["StreamStatus"] in ("ENABLED", "ENABLING"),
        view=stream["StreamViewType"],
        shards=shards,
        ended=frozenset(ended),
        now=int(parsedate_to_datetime(date).timestamp()),
    )


def check_tables(name: str, source: TableInfo, target: TableInfo) -> None:
    """Refuse what cannot be copied: no full stream, other keys, or one table on both sides."""
    if source.stream is None or source.view != "NEW_AND_OLD_IMAGES":
        has = f"a stream of view type {source.view}" if source.stream else "no stream"
        raise Refused(
            f"table {name}: {source.table} has {has}; "
            "changes can only be followed with StreamViewType NEW_AND_OLD_IMAGES: set it in the "
            "template of that stack"
        )
    if source.arn == target.arn:
        raise Refused(f"table {name}: source and target are the same table, {source.table}")
    shapes = [[f"{key} ({t.types[key]})" for key in t.keys] for t in (source, target)]
    if shapes[0] != shapes[1]:
        raise Refused(
            f"table {name}: the key of {source.table} is {', '.join(shapes[0])}, that of "
            f"{target.table} is {', '.join(shapes[1])}; they must be the same"
        )


def fix(caller: Caller, streams: Any, source: TableInfo, target: TableInfo) -> Row:
    """P0 of one table, as a row of META. Every read of the copy must come after it."""
    if source.stream is None:
        raise Refused(f"{source.table} has no stream")
    try:
        listing = describe_stream(caller, streams, source.stream)
    except Gap as gap:
        raise Refused(f"the stream of {source.table} changed just now: try again") from gap
    if not listing.enabled or not listing.shards:
        raise Refused(f"the stream of {source.table} is not enabled yet: try again in a minute")
    return {
        "source": source.table,
        "source_id": source.id,
        "source_arn": source.arn,
        "target": target.table,
        "target_id": target.id,
        "target_arn": target.arn,
        "stream": source.stream,
        "t0": listing.now,
        "shards": dict(listing.shards),
        "last": listing.last,
    }


def check_position(name: str, position: Row, source: TableInfo, target: TableInfo) -> None:
    """Raise Gap if either table, or the source's stream, is not the one P0 was fixed on."""
    if position["source_id"] != source.id or position["source_arn"] != source.arn:
        raise Gap(f"table {name}: {source.table} is not the table the copy was made from")
    if position["target_id"] != target.id or position["target_arn"] != target.arn:
        raise Gap(f"table {name}: {target.table} is not the table the copy was made into")
    if source.stream is None:
        raise Gap(f"table {name}: the stream of {source.table} was switched off")
    if position["stream"] != source.stream:
        raise Gap(
            f"table {name}: {source.table} has a new stream since the copy, "
            "so changes in between were lost"
        )
