"""The fake lineage of shards over the emulator's one real shard."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.data.calls import code
from tests.conftest import Emulator
from tests.data.streams import SplitStreams


class Source:
    def __init__(self, emulator: Emulator) -> None:
        self.client = emulator.client("dynamodb")
        self.table = f"stream-{uuid.uuid4().hex[:8]}"
        described = self.client.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]
        self.arn = described["LatestStreamArn"]
        self.version = 0

    def change(self, *keys: int) -> None:
        for key in keys:
            self.version += 1
            item = {"id": {"S": f"k{key}"}, "v": {"N": str(self.version)}}
            self.client.put_item(TableName=self.table, Item=item)


@pytest.fixture
def source(emulator: Emulator) -> Iterator[Source]:
    made = Source(emulator)
    yield made
    made.client.delete_table(TableName=made.table)


@pytest.fixture
def streams(source: Source, emulator: Emulator) -> SplitStreams:
    return SplitStreams(emulator.client("dynamodbstreams"), source.arn)


def start(streams: SplitStreams, arn: str, shard: str, **at: str) -> str:
    kind = {"ShardIteratorType": "TRIM_HORIZON", **at}
    iterator: str = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, **kind)[
        "ShardIterator"
    ]
    return iterator


def read(streams: SplitStreams, arn: str, shard: str) -> tuple[list[tuple[str, int]], bool]:
    """What a shard holds, and whether it has ended."""
    iterator: Any = start(streams, arn, shard)
    seen: list[tuple[str, int]] = []
    while iterator:
        answer = streams.get_records(ShardIterator=iterator, Limit=3)
        images = [record["dynamodb"]["NewImage"] for record in answer["Records"]]
        seen += [(image["id"]["S"], int(image["v"]["N"])) for image in images]
        iterator = answer.get("NextShardIterator")
        if not images and iterator:
            return seen, False
    return seen, True


def shards(streams: SplitStreams, arn: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    more: dict[str, str] = {}
    while True:
        answer = streams.describe_stream(StreamArn=arn, **more)["StreamDescription"]
        found |= {shard["ShardId"]: shard.get("ParentShardId") for shard in answer["Shards"]}
        if "LastEvaluatedShardId" not in answer:
            return found
        more = {"ExclusiveStartShardId": answer["LastEvaluatedShardId"]}


def test_records_are_dealt_out_in_order(source: Source, streams: SplitStreams) -> None:
    source.change(*range(8))
    left, right = streams.split()
    source.change(*range(8), *range(8))
    deeper = streams.split(left)
    rolled = streams.roll(right)
    source.change(*range(8))
    lineage = shards(streams, source.arn)
    (root,) = [shard for shard, parent in lineage.items() if parent is None]
    assert lineage == {
        root: None,
        left: root,
        right: root,
        deeper[0]: left,
        deeper[1]: left,
        rolled: right,
    }
    parts = {shard: read(streams, source.arn, shard) for shard in lineage}
    assert [end for _, end in parts.values()] == [True, True, True, False, False, False]
    assert len(parts[root][0]) == 8
    assert {key for key, _ in parts[left][0]} | {key for key, _ in parts[right][0]} == {
        f"k{n}" for n in range(8)
    }
    assert not {key for key, _ in parts[left][0]} & {key for key, _ in parts[right][0]}
    for key in (f"k{n}" for n in range(8)):
        versions = [v for seen, _ in parts.values() for k, v in seen if k == key]
        assert versions == sorted(versions)
        assert len(versions) == 4


def test_shards_are_listed_in_pages_and_some_of_them_late(
    source: Source, emulator: Emulator
) -> None:
    streams = SplitStreams(emulator.client("dynamodbstreams"), source.arn, page=2)
    streams.split(hidden=2)
    assert len(shards(streams, source.arn)) == 1
    assert len(shards(streams, source.arn)) == 1
    assert len(shards(streams, source.arn)) == 3
    assert streams.calls.count("describe_stream") == 4
    answer = streams.describe_stream(StreamArn=source.arn)
    assert answer["StreamDescription"]["StreamStatus"] == "ENABLED"
    assert "date" in answer["ResponseMetadata"]["HTTPHeaders"]


def test_trimmed_records_are_refused(source: Source, streams: SplitStreams) -> None:
    source.change(1, 1, 1, 1)
    (root,) = shards(streams, source.arn)
    iterator = start(streams, source.arn, root)
    first = streams.get_records(ShardIterator=iterator, Limit=1)
    number = first["Records"][0]["dynamodb"]["SequenceNumber"]
    streams.trim(root, keep=1)
    with pytest.raises(ClientError) as caught:
        streams.get_records(ShardIterator=first["NextShardIterator"])
    assert code(caught.value) == "TrimmedDataAccessException"
    with pytest.raises(ClientError) as caught:
        start(
            streams,
            source.arn,
            root,
            ShardIteratorType="AFTER_SEQUENCE_NUMBER",
            SequenceNumber=number,
        )
    assert code(caught.value) == "TrimmedDataAccessException"
    assert read(streams, source.arn, root) == ([("k1", 4)], False)
    streams.remove(root)
    with pytest.raises(ClientError) as caught:
        start(streams, source.arn, root)
    assert code(caught.value) == "ResourceNotFoundException"


def test_iterators_expire_and_checkpoints_do_not(source: Source, streams: SplitStreams) -> None:
    source.change(1, 2, 3)
    (root,) = shards(streams, source.arn)
    first = streams.get_records(ShardIterator=start(streams, source.arn, root), Limit=1)
    streams.expire()
    with pytest.raises(ClientError) as caught:
        streams.get_records(ShardIterator=first["NextShardIterator"])
    assert code(caught.value) == "ExpiredIteratorException"
    number = first["Records"][0]["dynamodb"]["SequenceNumber"]
    for kind, expected in (("AFTER_SEQUENCE_NUMBER", "k2"), ("AT_SEQUENCE_NUMBER", "k1")):
        iterator = start(streams, source.arn, root, ShardIteratorType=kind, SequenceNumber=number)
        (record, *_) = streams.get_records(ShardIterator=iterator)["Records"]
        assert record["dynamodb"]["Keys"] == {"id": {"S": expected}}
    latest = start(streams, source.arn, root, ShardIteratorType="LATEST")
    assert streams.get_records(ShardIterator=latest)["Records"] == []
