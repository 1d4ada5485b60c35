"""With writes stopped, only what changed since everything was proven equal is compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fearless.data.changes import MAX_AGE, Changes
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import SilentReport
from tests.data.worlds import NAMES, LiveWriter, Tables, key_of

KEY = {"pk": {"S": "k"}}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def proven(clock: Clock) -> Changes:
    changes = Changes(clock)
    changes.enter(1)
    changes.begin()
    changes.clean()
    assert changes.known
    return changes


def test_keys_are_noted_from_the_beginning_of_a_comparison_on() -> None:
    changes = Changes(Clock())
    changes.enter(1)
    changes.add("a", KEY, [(b"0", KEY)])
    changes.begin()
    changes.add("a", KEY, [(b"1", KEY)])
    assert not changes.known
    changes.clean()
    changes.add("a", KEY, [(b"2", KEY)])
    assert changes.known
    assert len(changes.of("a")) == 2
    assert changes.of("b") == []


def test_another_holder_in_between_makes_it_worthless() -> None:
    changes = proven(Clock())
    changes.enter(2)
    assert changes.known
    changes.enter(4)
    assert not changes.known
    assert changes.of("a") == []


def test_it_counts_for_an_hour_and_until_forgotten() -> None:
    clock = Clock()
    changes = proven(clock)
    clock.now = MAX_AGE + 1
    assert not changes.known
    again = proven(Clock())
    again.forget()
    assert not again.known
    again.clean()
    assert not again.known


@pytest.fixture
def tables(emulator: Emulator) -> Iterator[Tables]:
    made = Tables(emulator)
    yield made
    for name in NAMES:
        made.client.delete_table(TableName=made.source(name))
        made.client.delete_table(TableName=made.target(name))
    made.client.delete_table(TableName=made.state)


def test_the_changed_are_compared_and_no_others(tables: Tables, report: SilentReport) -> None:
    tables.fill(400)
    migration = tables.migration(report)
    migration.copy()
    migration.follow()
    with LiveWriter(tables, 11) as writer:
        everything = migration.verify()
        assert everything.clean
        assert migration.verified
    assert writer.writes
    migration.drain()
    verdict = migration.verify(still=True)
    assert verdict.clean, verdict
    assert 0 < verdict.compared < everything.compared
    assert tables.equal()


def test_each_kind_of_difference_among_the_changed_is_found(
    tables: Tables, report: SilentReport
) -> None:
    tables.fill(60)
    migration = tables.migration(report)
    migration.copy()
    assert migration.verify().clean
    source, target = tables.source("a"), tables.target("a")
    touched = tables.all(source)[:6]
    before = {str(key_of(item)) for item in tables.all(target)}
    for number, item in enumerate(touched):
        tables.client.put_item(TableName=source, Item={**item, "touched": {"N": str(number)}})
    migration.drain()
    assert migration.verify(still=True).clean
    changed = [item for item in tables.all(target) if "touched" in item]
    assert changed
    tables.client.delete_item(TableName=target, Key=key_of(changed[0]))
    missing = migration.verify(still=True)
    assert len(missing.missing) == 1
    wrong = {**changed[0], "touched": {"N": "1000"}}
    tables.client.put_item(TableName=target, Item=wrong)
    assert len(migration.verify(still=True).different) == 1
    tables.client.put_item(TableName=target, Item=changed[0])
    gone = tables.client.delete_item
    for item in touched:
        gone(TableName=source, Key=key_of(item))
    assert migration.verify(still=True).extra
    assert before


def test_another_process_that_held_the_run_is_noticed(tables: Tables, report: SilentReport) -> None:
    tables.fill(60)
    first = tables.migration(report)
    first.copy()
    assert first.verify().clean
    tables.migration(report).follow()
    full = first.verify(still=True)
    assert full.clean
    assert full.compared == sum(len(tables.present(name)) for name in NAMES)
