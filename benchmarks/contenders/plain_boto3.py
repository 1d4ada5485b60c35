"""What people write with boto3: a parallel scan with a batch_writer, and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer

from benchmarks.contenders.program import Order, Steps, run

Item = dict[str, Any]


def prepare(order: Order) -> Steps:
    """A session, and a resource for each thread, as boto3 wants it."""
    session = boto3.session.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    make: Any = partial(session.resource, "dynamodb", endpoint_url=order.url)
    resources = [make() for _ in range(order.threads)]
    streams: Any = session.client("dynamodbstreams", endpoint_url=order.url)
    return {
        "copy": lambda: copy(order, resources),
        "verify": lambda: verify(order, resources),
        "follow": lambda: follow(order, streams, resources[0]),
    }


def copy(order: Order, resources: list[Any]) -> None:
    """One thread for each segment."""

    def segment(number: int) -> None:
        dynamodb = resources[number]
        with dynamodb.Table(order.target).batch_writer() as batch:
            for item in scan(dynamodb.Table(order.source), number, order.threads):
                batch.put_item(Item=rename(item) if order.rename else item)

    in_threads(segment, range(order.threads))


def verify(order: Order, resources: list[Any]) -> None:
    """Read both tables and compare the items of equal keys."""
    sides: list[dict[tuple[str, str], Item]] = [{}, {}]

    def segment(number: int) -> None:
        for side, name in zip(sides, (order.source, order.target), strict=True):
            for item in scan(resources[number].Table(name), number, order.threads):
                side[item["store"], item["object"]] = item

    in_threads(segment, range(order.threads))
    if sides[0] != sides[1]:
        raise SystemExit("the tables differ")


def follow(order: Order, streams: Any, dynamodb: Any) -> None:
    """Write each new image; the last of a key in a batch wins."""
    plain = TypeDeserializer().deserialize
    (shard,) = streams.describe_stream(StreamArn=order.stream)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=order.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    left = order.records
    target = dynamodb.Table(order.target)
    while left:
        answer = streams.get_records(ShardIterator=iterator, Limit=1000)
        iterator = answer["NextShardIterator"]
        with target.batch_writer(overwrite_by_pkeys=["store", "object"]) as batch:
            for record in answer["Records"]:
                change = record["dynamodb"]
                if "NewImage" in change:
                    batch.put_item({name: plain(v) for name, v in change["NewImage"].items()})
                else:
                    batch.delete_item({name: plain(v) for name, v in change["Keys"].items()})
        left -= len(answer["Records"])


def scan(table: Any, segment: int, total: int) -> Iterator[Item]:
    """The items of a segment."""
    request: dict[str, Any] = {"Segment": segment, "TotalSegments": total}
    while True:
        page = table.scan(**request)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def rename(item: Item) -> Item:
    """The same change as in benchmarks.contenders.transforms."""
    item["name"] = item.pop("title")
    item["cents"] = int(item["price"] * Decimal(100))
    return item


def in_threads(work: Callable[[int], None], numbers: Iterable[int]) -> None:
    """All at once."""
    chosen = list(numbers)
    with ThreadPoolExecutor(len(chosen)) as pool:
        list(pool.map(work, chosen))


if __name__ == "__main__":
    run(prepare)
