"""Copy, follow, drain and verify on a real engine, with a live writer and everything failing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fearless.data.items import Item
from fearless.errors import Refused
from fearless.interfaces import Transform
from fearless.testing.emulator import Emulator
from tests.data.worlds import NAMES, RENAME, TRANSFORMS, Flaky, LiveWriter, Tables

CHILD = """
import sys
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import SilentReport
from tests.data.worlds import Tables
tables = Tables.__new__(Tables)
tables.emulator = Emulator(sys.argv[1])
tables.client = tables.emulator.client("dynamodb")
tables.streams = tables.emulator.client("dynamodbstreams")
tables.tag, tables.state, tables.names = sys.argv[2], "state-" + sys.argv[2], ("a", "b", "c")
migration = tables.migration(SilentReport())
print("started", flush=True)
while True:
    migration.copy()
    migration.follow()
    print("round", flush=True)
"""


@pytest.fixture
def tables(emulator: Emulator) -> Iterator[Tables]:
    made = Tables(emulator)
    yield made
    made.delete()


def test_copy_and_follow_under_a_live_writer(tables: Tables, report) -> None:
    tables.fill(600)
    migration = tables.migration(report)
    assert migration.state().phase == "none"
    with LiveWriter(tables, 7) as writer:
        state = migration.copy()
        assert state.phase == "replay"
        for _ in range(3):
            migration.follow()
        online = migration.verify()
    assert online.clean, online
    assert writer.writes > 20
    drained = migration.drain()
    assert drained.lag == 0
    assert drained.applied > 0
    assert tables.equal()
    verdict = migration.verify()
    assert verdict.clean
    assert verdict.compared == sum(len(tables.present(name)) for name in NAMES)
    rows = [
        row for row in migration._state.rows(migration._reader, 1, "T#") if "#SEG#" in row["sk"]
    ]
    for row in rows:
        assert row["read"] == row["kept"] + row["dropped"] + row["quarantined"]
    assert state.read == sum(row["read"] for row in rows)
    assert state.changed > 0
    assert state.dropped > 0


def test_everything_fails_now_and_then(tables: Tables, report) -> None:
    tables.fill(300)
    flaky = Flaky(tables.client, 3, throttles=12)
    migration = tables.migration(report, client=flaky)
    with LiveWriter(tables, 8):
        migration.copy()
        migration.follow()
    migration.drain()
    assert flaky.trouble > 12
    assert tables.equal()
    assert migration.verify().clean


@pytest.mark.slow
def test_killed_again_and_again(tables: Tables, report, emulator: Emulator, tmp_path: Path) -> None:
    tables.fill(500)
    root = Path(__file__).parents[2]
    rounds = 0
    with LiveWriter(tables, 9):
        for delay in (0.05, 0.15, 0.3, 0.5, 0.9, 1.5):
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, emulator.url, tables.tag],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(root)},
                stdout=subprocess.PIPE,
                text=True,
            )
            assert child.stdout is not None
            assert child.stdout.readline() == "started\n"
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            rounds += child.stdout.read().count("round")
            child.wait()
        migration = tables.migration(report)
        assert migration.copy().phase == "replay"
        migration.follow()
    migration.drain()
    assert tables.equal()
    assert migration.verify().clean


def test_the_holder_is_alive(tables: Tables, report) -> None:
    tables.fill(20)
    migration = tables.migration(report)
    migration.copy()
    with (
        migration._lease() as lease,
        pytest.raises(Refused, match=f"process {os.getpid()} on .* is working on this data run"),
    ):
        other = tables.migration(report)._lease()
        other._sleep = lambda seconds: lease.update({})
        other.__enter__()


def test_a_new_stream_breaks_the_run_and_copying_again_repairs_it(tables: Tables, report) -> None:
    tables.fill(100)
    migration = tables.migration(report)
    migration.copy()
    source = tables.source("a")
    for enabled in (False, True):
        kind = {"StreamViewType": "NEW_AND_OLD_IMAGES"} if enabled else {}
        tables.client.update_table(
            TableName=source, StreamSpecification={"StreamEnabled": enabled, **kind}
        )
        if not enabled:
            for item in tables.all(source)[:10]:
                key = {"pk": item["pk"], "sk": item["sk"]}
                tables.client.delete_item(TableName=source, Key=key)
    state = migration.state()
    assert state.phase == "broken"
    assert "new stream" in state.reason
    broken = migration.follow()
    assert broken.phase == "broken"
    with pytest.raises(Refused, match="new stream"):
        migration.drain()
    with pytest.raises(Refused, match="new stream"):
        migration.verify()
    assert migration.copy().phase == "replay"
    assert not tables.equal()
    assert migration.follow().phase == "replay"
    assert tables.equal()
    assert migration.verify().clean


def test_a_stranger_in_the_target_is_refused(tables: Tables, report) -> None:
    tables.client.put_item(TableName=tables.target("a"), Item={"pk": {"S": "x"}, "sk": {"S": "y"}})
    with pytest.raises(Refused, match=r"is not empty.*pk='x'"):
        tables.migration(report).copy()


def test_without_a_full_stream_it_is_refused(tables: Tables, report) -> None:
    tables.client.update_table(
        TableName=tables.source("b"), StreamSpecification={"StreamEnabled": False}
    )
    with pytest.raises(Refused, match=r"has no stream.*NEW_AND_OLD_IMAGES"):
        tables.migration(report).copy()


def test_following_before_copying_is_refused(tables: Tables, report) -> None:
    with pytest.raises(Refused, match="copy first"):
        tables.migration(report).follow()


def test_what_differs_is_named_and_repaired(tables: Tables, report) -> None:
    tables.fill(60)
    migration = tables.migration(report)
    migration.copy()
    migration.follow()
    (gone, changed, *_) = tables.all(tables.target("c"))
    target = tables.target("c")
    key = {"pk": gone["pk"], "sk": gone["sk"]}
    tables.client.delete_item(TableName=target, Key=key)
    tables.client.put_item(TableName=target, Item={**changed, "empty": {"S": "not"}})
    tables.client.put_item(TableName=target, Item={"pk": {"S": "extra"}, "sk": {"S": "1"}})
    tables.client.put_item(TableName=target, Item={"pk": {"S": "test-1"}, "sk": {"S": "1"}})
    verdict = migration.verify()
    assert verdict.missing == (f"c: pk={gone['pk']['S']!r}, sk={gone['sk']['S']!r}",)
    assert verdict.different == (f"c: pk={changed['pk']['S']!r}, sk={changed['sk']['S']!r}",)
    assert verdict.extra == ("c: pk='extra', sk='1'",)
    assert verdict.ignored == {"test items": 1}
    assert migration.repair().clean
    tables.client.delete_item(TableName=target, Key={"pk": {"S": "test-1"}, "sk": {"S": "1"}})
    assert tables.equal()


def picky(item: Item) -> Item:
    if item["sk"].endswith("7"):
        raise ValueError(f"cannot parse {item['title']!r}")
    if item["sk"].endswith("8"):
        item["blob"] = b"x" * 500_000
    return item


def test_what_cannot_be_migrated_is_kept_aside(tables: Tables, report) -> None:
    tables.fill(40)
    transforms = (Transform("picky", ("a",), picky),)
    migration = tables.migration(report, transforms=transforms)
    state = migration.copy()
    assert state.quarantined == 8
    assert state.read == 120
    assert state.written == 112
    rows = {row["key"]["sk"]["S"]: row for row in migration.quarantine()}
    assert rows["s7"]["error"] == "ValueError"
    assert rows["s7"]["message"] == "cannot parse '…'"
    assert rows["s7"]["where"].startswith("test_emulator.py:")
    assert rows["s8"]["error"] == "invalid:item over 400 KB"
    verdict = migration.verify()
    assert not verdict.clean
    assert len(verdict.missing) == 8
    source = tables.source("a")
    for item in tables.all(source):
        if item["sk"]["S"][-1] in "78":
            tables.client.delete_item(TableName=source, Key={"pk": item["pk"], "sk": item["sk"]})
    assert migration.follow().quarantined == 0
    assert migration.verify().clean


def test_a_changed_transform_starts_over(tables: Tables, report) -> None:
    tables.fill(30)
    tables.migration(report, transforms=(RENAME,)).copy()
    migration = tables.migration(report)
    assert migration.state().phase == "broken"
    assert "transforms" in migration.state().reason
    assert migration.copy().phase == "replay"
    migration.follow()
    assert tables.equal(TRANSFORMS)
