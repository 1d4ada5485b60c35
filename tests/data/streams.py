"""What no emulator has: shards that split, are trimmed, appear late, and iterators that expire.

A stream client laid over a real one. The one real shard is dealt out, in order, to a lineage of
shards by the hash of each record's key; what happens to the lineage, and when, is up to the test.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.canonical import item_bytes, short_hash

Record = dict[str, Any]


def refusal(code: str, operation: str) -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": f"{code} (by the test)"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    return ClientError(answer, operation)  # type: ignore[arg-type]


@dataclass
class Shard:
    """`prefix`: the first bits of its keys' hashes; `hidden`: how often it is left out of lists."""

    id: str
    parent: str | None
    prefix: str
    records: list[Record] = field(default_factory=list)
    closed: bool = False
    trimmed: int = 0
    hidden: int = 0


class SplitStreams:
    """Drop-in for the client of DynamoDB streams, for the one stream `arn`.

    `page` shards come with one DescribeStream.
    """

    def __init__(self, client: Any, arn: str, page: int = 100) -> None:
        self._client = client
        self._arn = arn
        self._page = page
        self._lock = threading.RLock()
        self._iterator: str | None = None
        self._generation = 0
        self._made = 0
        self.shards: list[Shard] = []
        self.calls: list[str] = []
        self._new(None, "", 0)

    # ---------------------------------------------------------------- what the test does

    def split(self, shard: str | None = None, hidden: int = 0) -> list[str]:
        """Close an open shard (the first), each half of whose keys gets a shard of its own."""
        with self._lock:
            parent = self._close(shard)
            return [self._new(parent.id, parent.prefix + bit, hidden).id for bit in "01"]

    def roll(self, shard: str | None = None, hidden: int = 0) -> str:
        """Close an open shard, which one new shard follows: what happens every four hours."""
        with self._lock:
            parent = self._close(shard)
            return self._new(parent.id, parent.prefix, hidden).id

    def trim(self, shard: str, keep: int = 0) -> None:
        """Forget all records of a shard but the last few."""
        with self._lock:
            self.pump()
            found = self._find(shard, "Trim")
            found.trimmed = max(found.trimmed, len(found.records) - keep)

    def remove(self, shard: str) -> None:
        """Forget a whole shard, as happens a day after its end."""
        with self._lock:
            self.pump()
            self.shards.remove(self._find(shard, "Remove"))

    def expire(self) -> None:
        """No iterator given out before now is good any more."""
        with self._lock:
            self._generation += 1

    def pump(self) -> int:
        """Deal out what the real shard has got since; how many records."""
        with self._lock:
            dealt = 0
            while records := self._real_records():
                for record in records:
                    self._leaf(record).records.append(record)
                dealt += len(records)
            return dealt

    # ---------------------------------------------------------------- what the engine calls

    def describe_stream(
        self, StreamArn: str, Limit: int = 100, ExclusiveStartShardId: str | None = None
    ) -> Any:
        with self._lock:
            self._called("describe_stream", StreamArn)
            answer = self._client.describe_stream(StreamArn=self._arn)
            description = dict(answer["StreamDescription"])
            if ExclusiveStartShardId is None:
                for shard in self.shards:
                    shard.hidden = max(-1, shard.hidden - 1)
            listed = [shard for shard in self.shards if shard.hidden < 0]
            if ExclusiveStartShardId is not None:
                names = [shard.id for shard in listed]
                listed = listed[names.index(ExclusiveStartShardId) + 1 :]
            part = listed[: min(self._page, Limit)]
            description["Shards"] = [_described(shard) for shard in part]
            description.pop("LastEvaluatedShardId", None)
            if len(listed) > len(part):
                description["LastEvaluatedShardId"] = part[-1].id
            return {**answer, "StreamDescription": description}

    def get_shard_iterator(
        self, StreamArn: str, ShardId: str, ShardIteratorType: str, SequenceNumber: str = ""
    ) -> Any:
        with self._lock:
            self._called("get_shard_iterator", StreamArn)
            self.pump()
            shard = self._find(ShardId, "GetShardIterator")
            at = shard.trimmed
            if ShardIteratorType == "LATEST":
                at = len(shard.records)
            elif ShardIteratorType.endswith("SEQUENCE_NUMBER"):
                numbers = [int(r["dynamodb"]["SequenceNumber"]) for r in shard.records]
                at = numbers.index(int(SequenceNumber))
                if at < shard.trimmed:
                    raise refusal("TrimmedDataAccessException", "GetShardIterator")
                at += ShardIteratorType.startswith("AFTER")
            return {"ShardIterator": self._token(shard, at)}

    def get_records(self, ShardIterator: str, Limit: int = 1000) -> Any:
        with self._lock:
            self._called("get_records", self._arn)
            generation, shard_id, at = ShardIterator.split("|")
            if int(generation) != self._generation:
                raise refusal("ExpiredIteratorException", "GetRecords")
            self.pump()
            shard = self._find(shard_id, "GetRecords")
            if int(at) < shard.trimmed:
                raise refusal("TrimmedDataAccessException", "GetRecords")
            records = shard.records[int(at) : int(at) + Limit]
            end = int(at) + len(records)
            answer: dict[str, Any] = {"Records": records}
            if not (shard.closed and end == len(shard.records)):
                answer["NextShardIterator"] = self._token(shard, end)
            return answer

    # ---------------------------------------------------------------- inside

    def _called(self, name: str, arn: str) -> None:
        self.calls.append(name)
        if arn != self._arn:
            raise refusal("ResourceNotFoundException", name)

    def _token(self, shard: Shard, at: int) -> str:
        return f"{self._generation}|{shard.id}|{at}"

    def _real_records(self) -> list[Record]:
        """The next ones of the real shard, at most 1,000; [] at its end for now."""
        if self._iterator is None:
            shards = self._client.describe_stream(StreamArn=self._arn)["StreamDescription"]
            (shard,) = shards["Shards"]
            self._iterator = self._client.get_shard_iterator(
                StreamArn=self._arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
        answer = self._client.get_records(ShardIterator=self._iterator, Limit=1000)
        self._iterator = answer["NextShardIterator"]
        records: list[Record] = answer["Records"]
        return records

    def _leaf(self, record: Record) -> Shard:
        bits = f"{short_hash(item_bytes(record['dynamodb']['Keys'])):064b}"
        (leaf,) = [s for s in self.shards if not s.closed and bits.startswith(s.prefix)]
        return leaf

    def _find(self, shard_id: str, operation: str) -> Shard:
        for shard in self.shards:
            if shard.id == shard_id:
                return shard
        raise refusal("ResourceNotFoundException", operation)

    def _close(self, shard_id: str | None) -> Shard:
        """All that was written before now is in the parent, all after it in the children."""
        self.pump()
        open_ids = [shard.id for shard in self.shards if not shard.closed]
        shard = self._find(shard_id or open_ids[0], "Split")
        assert not shard.closed
        shard.closed = True
        return shard

    def _new(self, parent: str | None, prefix: str, hidden: int) -> Shard:
        shard = Shard(f"shardId-{self._made:020d}-{prefix or 'all'}", parent, prefix, hidden=hidden)
        self._made += 1
        self.shards.append(shard)
        return shard


def _described(shard: Shard) -> dict[str, Any]:
    numbers = [record["dynamodb"]["SequenceNumber"] for record in shard.records]
    bounds = {"StartingSequenceNumber": numbers[0] if numbers else "0"}
    if shard.closed:
        bounds["EndingSequenceNumber"] = numbers[-1] if numbers else "0"
    more = {"ParentShardId": shard.parent} if shard.parent else {}
    return {"ShardId": shard.id, "SequenceNumberRange": bounds, **more}
