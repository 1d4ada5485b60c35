"""Real worker processes are killed, stopped and lied to while the application writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fearless.builtin.engines.processes import Processes
from fearless.testing.emulator import Emulator, running
from tests.data.chaos import SMALL, Trouble, Watched, job_of, until
from tests.data.worlds import Flaky, LiveWriter, Tables

pytestmark = pytest.mark.slow


@pytest.fixture
def tables(emulator: Emulator) -> Iterator[Tables]:
    made = Tables(emulator)
    yield made
    made.delete()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Refuses what was signed longer ago than a worker may stay suspect: as on AWS, but sooner."""
    with running(tmp_path_factory.mktemp("strict"), signature_seconds=4.0) as made:
        yield made


def finish(migration: Any, tables: Tables) -> None:
    """With the writer gone: everything applied, proven, and looked at once more by other means."""
    migration.drain()
    assert migration.verify(still=True).clean
    assert tables.equal()
    assert migration.state().suspects == 0


def test_the_engine_as_it_is(tables: Tables, report: Any) -> None:
    tables.fill(200)
    engine = Processes(processes=2, threads=2)
    migration = tables.migration(report, settings=SMALL, engine=engine, job=job_of(tables, SMALL))
    with LiveWriter(tables, 21):
        migration.copy()
        migration.follow()
        assert migration.verify().clean
    finish(migration, tables)


def test_workers_are_killed_while_they_copy_and_follow(tables: Tables, report: Any) -> None:
    tables.fill(350)
    engine = Watched()
    migration = tables.migration(report, settings=SMALL, engine=engine, job=job_of(tables, SMALL))
    with LiveWriter(tables, 22):
        with Trouble(engine, 1) as copying:
            migration.copy()
        with Trouble(engine, 3) as following:
            deadline = time.monotonic() + 60
            migration.follow(until=lambda: following.killed >= 3 or time.monotonic() > deadline)
            assert migration.verify().clean
    assert copying.killed >= 2
    assert following.killed >= 3
    finish(migration, tables)


def test_workers_are_stopped_until_their_leases_are_over(strict: Emulator, report: Any) -> None:
    tables = Tables(strict)
    tables.fill(250)
    engine = Watched()
    migration = tables.migration(report, settings=SMALL, engine=engine, job=job_of(tables, SMALL))
    with LiveWriter(tables, 23):
        with Trouble(engine, 2, 0.3, stop=(3.3, 5.5), most=4) as copying:
            migration.copy()
        with Trouble(engine, 2, 0.3, stop=(3.3, 5.5), most=4) as following:
            deadline = time.monotonic() + 60
            migration.follow(until=lambda: following.stopped >= 2 or time.monotonic() > deadline)
    assert copying.stopped >= 1
    assert following.stopped >= 2
    finish(migration, tables)
    tables.delete()


def test_everything_fails_in_workers_and_coordinator(tables: Tables, report: Any) -> None:
    tables.fill(100)
    engine = Watched("tests.data.chaos:flaky_worker")
    client, state = Flaky(tables.client, 4, 0.03, 3), Flaky(tables.client, 5, 0.03)
    streams = Flaky(tables.streams, 6, 0.03)
    migration = tables.migration(
        report, client, settings=SMALL, engine=engine, job=job_of(tables, SMALL),
        state=state, streams=streams,
    )  # fmt: skip
    with LiveWriter(tables, 24):
        migration.copy()
        migration.follow()
    finish(migration, tables)
    assert min(client.trouble, state.trouble, streams.trouble) > 0


def test_a_pause_holds_every_write_until_it_is_over(tables: Tables, report: Any) -> None:
    """Signs of life carry it: a fifth of a lease, and the time of a request that is under way."""
    tables.fill(700)
    engine = Watched()
    migration = tables.migration(report, settings=SMALL, engine=engine, job=job_of(tables, SMALL))
    other = tables.migration(report, settings=SMALL)
    copying = threading.Thread(target=migration.copy)
    copying.start()
    until(lambda: counted(tables) > 100)
    other.pause("by the test")
    time.sleep(SMALL.lease / 5 + 1)
    before = counted(tables)
    time.sleep(1.5)
    assert counted(tables) == before < 2000
    assert copying.is_alive()
    other.resume()
    copying.join(60)
    assert not copying.is_alive()
    migration.follow()
    finish(migration, tables)


def counted(tables: Tables) -> int:
    scans = (
        tables.client.scan(TableName=tables.target(name), Select="COUNT") for name in tables.names
    )
    return sum(int(scan["Count"]) for scan in scans)
