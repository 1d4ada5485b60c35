"""The same on every engine: the emulator, moto, and what FEARLESS_TEST_DYNAMODB_URL names.

The last is for DynamoDB Local, another emulator, or AWS itself, with the credentials and the region
of the environment. The tests make tables named `source-...`, `target-...` and `state-...`, and
delete them at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fearless.data.canonical import item_bytes
from fearless.data.items import Item
from fearless.interfaces import Transform
from fearless.testing.emulator import Emulator
from tests.data.chaos import BOTH_WAYS
from tests.data.moto_server import moto
from tests.data.test_chaos_classes import BOTH, Changing, World
from tests.data.worlds import FAST, Flaky, LiveWriter, Tables, key_of

pytestmark = pytest.mark.slow

__all__ = ["moto"]

URL = "FEARLESS_TEST_DYNAMODB_URL"
STREAMS = "FEARLESS_TEST_STREAMS_URL"
SMALL = replace(FAST, segments=2, threads=2)


class Elsewhere(Emulator):
    """An endpoint of the environment's; streams of AWS are at another URL."""

    def client(self, service: str, **credentials: str) -> Any:
        if "AWS_ACCESS_KEY_ID" not in os.environ:
            return super().client(service, **credentials)
        import boto3

        url = os.environ.get(STREAMS, self.url) if service == "dynamodbstreams" else self.url
        region = os.environ.get("AWS_REGION", "us-east-1")
        make: Any = boto3.client
        return make(service, endpoint_url=url, region_name=region)


@pytest.fixture(scope="module", params=["emulator", "moto", "elsewhere"])
def place(request: pytest.FixtureRequest) -> Emulator:
    """An engine; the last one only when the environment names it."""
    if request.param == "emulator":
        found: Emulator = request.getfixturevalue("emulator")
        return found
    if request.param == "moto":
        return Emulator(request.getfixturevalue("moto").meta.endpoint_url)
    if URL not in os.environ:
        pytest.skip(f"{URL} names no endpoint to test against")
    return Elsewhere(os.environ[URL])


@pytest.fixture
def tables(place: Emulator) -> Iterator[Tables]:
    made = Tables(place)
    yield made
    made.delete()


@pytest.fixture
def world(place: Emulator) -> Iterator[World]:
    made = World(place)
    for _ in range(50):
        made.change()
    yield made
    made.delete()


def test_copy_follow_and_verify(tables: Tables, report: Any) -> None:
    tables.fill(60)
    flaky = Flaky(tables.client, 5, 0.02, throttles=3)
    migration = tables.migration(report, flaky, settings=SMALL)
    with LiveWriter(tables, 51):
        migration.copy()
        migration.follow()
    migration.drain()
    assert migration.verify().clean
    assert tables.equal()
    gone, changed, *_ = tables.all(tables.target("c"))
    tables.client.delete_item(TableName=tables.target("c"), Key=key_of(gone))
    different = {**changed, "empty": {"S": "not"}}
    tables.client.put_item(TableName=tables.target("c"), Item=different)
    verdict = migration.verify()
    assert (len(verdict.missing), len(verdict.different)) == (1, 1)
    assert migration.repair().clean
    assert tables.equal()


def picky(item: Item) -> Item:
    if item["sk"].endswith("7"):
        raise ValueError("no sevens")
    return item


def test_what_cannot_be_migrated_is_kept_aside(tables: Tables, report: Any) -> None:
    tables.fill(20)
    transforms = (Transform("picky", ("a",), picky),)
    migration = tables.migration(report, transforms=transforms, settings=SMALL)
    assert migration.copy().quarantined == 2
    assert not migration.verify().clean
    for row in migration.quarantine():
        tables.client.delete_item(TableName=tables.source("a"), Key=row["key"])
    assert migration.follow().quarantined == 0
    assert migration.verify().clean


def test_names_pass_and_groups_change(world: World, report: Any) -> None:
    migration = world.migration(report, transforms=BOTH, settings=SMALL)
    with Changing(world):
        migration.copy()
        migration.follow()
    migration.drain()
    assert migration.verify(still=True).clean
    assert migration.verify().clean
    assert world.right()


EXACT: dict[str, Any] = {
    "digits": {"N": "-9.9999999999999999999999999999999999999E+125"},
    "more": {"N": "1234567890123456789012345678901234567.8"},
    "tiny": {"N": "1E-130"},
    "raw": {"B": b"\x00\xff\x00\x00"},
    "empty": {"S": ""},
    "no_bytes": {"B": b""},
    "none": {"NULL": True},
    "no": {"BOOL": False},
    "strings": {"SS": ["a", "b\u00e9"]},
    "numbers": {"NS": ["1", "1234567890123456789012345678901234567.8"]},
    "bytes": {"BS": [b"\x00", b"a\x00\x00"]},
    "deep": {"M": {"l": {"L": [{"M": {}}, {"L": []}, {"B": b"\x00"}, {"N": "0.10"}]}}},
}


def exact(sk: str, title: str) -> dict[str, Any]:
    return {"pk": {"S": "k\u00e9y"}, "sk": {"S": sk}, "title": {"S": title}, **EXACT}


def test_every_bit_survives_copy_follow_and_the_way_back(place: Emulator, report: Any) -> None:
    tables = Tables(place, ("a", "b"))
    for name in tables.names:
        tables.client.put_item(TableName=tables.source(name), Item=exact("copied", "one"))
    migration = tables.migration(report, transforms=BOTH_WAYS, settings=SMALL)
    migration.copy()
    for name in tables.names:
        tables.client.put_item(TableName=tables.source(name), Item=exact("followed", "two"))
    migration.follow()
    migration.drain()
    assert migration.verify(still=True).clean
    migration.turn()
    for name, title in (("a", "name"), ("b", "title")):
        found = {item["sk"]["S"]: item for item in tables.all(tables.target(name))}
        assert found.keys() == {"copied", "followed"}
        for item in found.values():
            assert item[title]["S"] in ("one", "two")
            same(item)
        mine = {**found["copied"], "sk": {"S": "made"}}
        tables.client.put_item(TableName=tables.target(name), Item=mine)
        changed = {**found["followed"], title: {"S": "three"}}
        tables.client.put_item(TableName=tables.target(name), Item=changed)
    back = tables.migration(report, transforms=BOTH_WAYS, settings=SMALL, back=True)
    back.follow()
    back.drain()
    assert back.verify(still=True).clean
    for name in tables.names:
        titles = {item["sk"]["S"]: item["title"]["S"] for item in tables.all(tables.source(name))}
        assert titles == {"copied": "one", "followed": "three", "made": "one"}
        for item in tables.all(tables.source(name)):
            same(item)
    tables.delete()


def same(item: dict[str, Any]) -> None:
    """Everything that is hard to keep is as it was, compared by value and as it is written."""
    part = {name: item[name] for name in EXACT}
    assert item_bytes(part) == item_bytes(EXACT)
    for name in ("raw", "empty", "no_bytes", "none", "no", "deep"):
        if name != "deep":
            assert item[name] == EXACT[name]
    assert sorted(item["bytes"]["BS"]) == EXACT["bytes"]["BS"]
