"""The list of writes since the cutover: complete, in order, or it says what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fearless.data.engine import Clients, Pair
from fearless.data.journal import journal
from fearless.data.machinery import Machinery
from fearless.data.state import StateTable
from fearless.data.worker import run_key
from fearless.errors import Refused
from fearless.testing.emulator import Emulator
from tests.data.worlds import FAST, Tables

KEY = {"pk": {"S": "p1"}, "sk": {"S": "s1"}}


@pytest.fixture
def tables(emulator: Emulator) -> Iterator[Tables]:
    made = Tables(emulator, ("c",))
    yield made
    for name in (made.source("c"), made.target("c"), made.state):
        made.client.delete_table(TableName=name)


def written(tables: Tables) -> list[dict[str, Any]]:
    client = tables.client
    return list(
        journal(
            Clients(client, tables.streams, client, client),
            StateTable(client, tables.state, run_key("run", True)),
            [Pair("c", tables.target("c"), tables.source("c"))],
            FAST,
            Machinery(),
        )
    )


@pytest.fixture
def turned(tables: Tables, report: Any) -> Tables:
    tables.fill(30)
    migration = tables.migration(report, transforms=())
    migration.copy()
    migration.drain()
    migration.turn()
    return tables


def test_before_the_turn_there_is_no_list(tables: Tables) -> None:
    with pytest.raises(Refused, match="was not fixed at the cutover"):
        written(tables)


def test_what_the_copy_wrote_is_not_in_it(turned: Tables) -> None:
    assert written(turned) == []


def test_every_write_is_in_it_in_order(turned: Tables) -> None:
    client, table = turned.client, turned.target("c")
    first, second = ({**KEY, "n": {"N": str(n)}} for n in (1, 2))
    for item in (first, second):
        client.put_item(TableName=table, Item=item)
    client.delete_item(TableName=table, Key=KEY)
    for _ in range(2):
        found = written(turned)
        assert [(entry["old"], entry["new"]) for entry in found][-2:] == [
            (first, second),
            (second, None),
        ]
        assert {entry["table"] for entry in found} == {"c"}
        assert all(entry["at"] > 1.7e9 for entry in found)


def test_a_stream_that_was_switched_off_is_missing(turned: Tables) -> None:
    client, table = turned.client, turned.target("c")
    client.put_item(TableName=table, Item={**KEY, "n": {"N": "1"}})
    client.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
    (entry,) = written(turned)
    assert entry["table"] == "c"
    assert "was switched off" in entry["missing"]
