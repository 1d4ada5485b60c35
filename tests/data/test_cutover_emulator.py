"""There and back between real tables with a live writer, fences that IAM enforces, and no loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.data.calls import Caller
from fearless.data.context import Settings
from fearless.data.controller import CutoverRow
from fearless.data.cutover import Cutover
from fearless.data.engine import Migration
from fearless.data.fences.canary import Canary, assume
from fearless.data.fences.documents import open_policy
from fearless.data.fences.role import RoleFence
from fearless.data.guards import of_data
from fearless.data.items import Item
from fearless.data.job import Clients, Pair
from fearless.data.stragglers import Stragglers, conflicts
from fearless.data.withdrawal import Limits
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Late, Transform
from fearless.owner import boottime
from fearless.testing.emulator import Emulator
from tests.data.worlds import Tables

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
            "Action": "sts:AssumeRole",
        }
    ],
}
NAMES = ("a", "b")
LIMITS = Limits(budget=30, margin=8, lease=15, request=3, skew=2)
FAST = Settings(zombie=0.3, skew=2.0, poll=0.05, tip_polls=2, lease=15.0, drain=20.0)


def up(item: Item) -> Item:
    """The new release calls it `name`."""
    if "title" in item:
        item.rename("title", "name")
    return item


def down(item: Item, old: Item | None) -> Item:
    if "name" in item:
        item.rename("name", "title")
    return item


RENAME = Transform("rename", ("a",), up, down=down)


CHILD = """
import sys
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import SilentReport
from tests.data.test_cutover_emulator import NAMES, Sides
from tests.data.worlds import Tables
tables = Tables.__new__(Tables)
tables.emulator = Emulator(sys.argv[1])
tables.client = tables.emulator.client("dynamodb")
tables.streams = tables.emulator.client("dynamodbstreams")
tables.tag, tables.state, tables.names = sys.argv[2], "state-" + sys.argv[2], NAMES
made = Sides(tables, SilentReport()).cutover()
row = made.state()
print("started", flush=True)
going = row is not None and row["step"] not in ("", "ABORTED")
made.resume() if going else made.run()
"""


class Sides:
    """The tables of both sides, the role that the application of each writes with, and a row."""

    def __init__(self, tables: Tables, report: Any) -> None:
        self.tables = tables
        self.emulator = tables.emulator
        self.report = report
        self.client = self.tables.client
        self.iam = self.emulator.client("iam")
        self.roles = {side: f"{side}-{self.tables.tag}" for side in ("source", "target")}
        self.arns = {
            side: f"arn:aws:iam::000000000000:role/{role}" for side, role in self.roles.items()
        }
        caller = Caller(lambda: None, lambda: None, boottime, time.sleep)
        self.rows = CutoverRow(self.client, self.tables.state, "run", caller)

    def make_roles(self) -> None:
        for side, role in self.roles.items():
            made = self.iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
            assert made["Role"]["Arn"] == self.arns[side]
            self.iam.put_role_policy(
                RoleName=role,
                PolicyName="app",
                PolicyDocument=json.dumps(
                    open_policy([t["TableArn"] for t in self.describe(side)])
                ),
            )

    def name(self, side: str, table: str) -> str:
        return self.tables.source(table) if side == "source" else self.tables.target(table)

    def describe(self, side: str) -> list[Any]:
        return [
            self.client.describe_table(TableName=self.name(side, table))["Table"] for table in NAMES
        ]

    def app(self, side: str) -> Any:
        keys = assume(self.emulator.client("sts"), self.arns[side], side)
        return self.emulator.client(
            "dynamodb",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    def fence(self, side: str) -> RoleFence:
        canary = Canary(lambda: self.app(side), 3, 0.2)
        return RoleFence(self.iam, [self.roles[side]], lambda: self.describe(side), canary, "run")

    def migration(self, back: bool = False) -> Migration:
        first, second = ("target", "source") if back else ("source", "target")
        streams = self.tables.streams
        return Migration(
            "run",
            [Pair(name, self.name(first, name), self.name(second, name)) for name in NAMES],
            [RENAME],
            Clients(self.client, streams, self.client, self.client, streams),
            self.tables.state,
            self.report,
            FAST,
            back=back,
        )

    def cutover(self, back: bool = False, **more: Any) -> Cutover:
        first, second = ("target", "source") if back else ("source", "target")
        mover = self.migration(back)
        return Cutover(
            self.rows,
            mover,
            self.fence(first),
            self.fence(second),
            self.report,
            of_data(mover, time.time, accept_one_way=back),
            more.pop("limits", LIMITS),
            back,
            **more,
        )

    def delete(self) -> None:
        for role in self.roles.values():
            for name in self.iam.list_role_policies(RoleName=role)["PolicyNames"]:
                self.iam.delete_role_policy(RoleName=role, PolicyName=name)
            self.iam.delete_role(RoleName=role)
        for name in NAMES:
            self.client.delete_table(TableName=self.tables.source(name))
            self.client.delete_table(TableName=self.tables.target(name))
        self.client.delete_table(TableName=self.tables.state)


class Writer:
    """The application: writes with its role to whichever side lets it, and notes what was taken."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.taken: dict[tuple[str, str], int] = {}
        self.by_side = {"source": 0, "target": 0}
        self.error: BaseException | None = None

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            clients = {side: self._sides.app(side) for side in ("source", "target")}
            number = 0
            while not self._stop.is_set():
                number += 1
                for side, client in clients.items():
                    self._write(side, client, number)
                time.sleep(0.01)
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def _write(self, side: str, client: Any, number: int) -> None:
        table, key = NAMES[number % 2], f"k{number % 23}"
        label = "name" if side == "target" and table == "a" else "title"
        item = {"pk": {"S": key}, "sk": {"S": "-"}, "n": {"N": str(number)}, label: {"S": "x"}}
        try:
            client.put_item(TableName=self._sides.name(side, table), Item=item)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDeniedException"
            return
        self.taken[table, key] = number
        self.by_side[side] += 1

    def until(self, side: str, more: int) -> None:
        """Wait until the side has taken so many more writes."""
        wanted, deadline = self.by_side[side] + more, time.monotonic() + 20
        while self.by_side[side] < wanted:
            assert time.monotonic() < deadline, f"{side} takes no writes: {self.error}"
            time.sleep(0.02)

    def lost(self, side: str) -> dict[Any, Any]:
        """What was taken and is not on that side."""
        found = {
            (table, item["pk"]["S"]): int(item["n"]["N"])
            for table in NAMES
            for item in self._sides.tables.all(self._sides.name(side, table))
            if "n" in item
        }
        return {key: n for key, n in self.taken.items() if found.get(key) != n}


@pytest.fixture
def sides(emulator: Emulator, report: Any) -> Iterator[Sides]:
    made = Sides(Tables(emulator, NAMES), report)
    made.make_roles()
    yield made
    made.delete()


def close_new_side(sides: Sides) -> None:
    """As it is before any cutover: nobody writes the new tables."""
    sides.fence("target").fence(0, None)


@pytest.mark.slow
def test_there_and_back_without_a_lost_write(sides: Sides) -> None:
    close_new_side(sides)
    sides.tables.fill(60)
    with Writer(sides) as writer:
        writer.until("source", 30)
        sides.migration().copy()
        sides.migration().follow()
        row = sides.cutover().run()
        assert (row["step"], row["live"]) == ("DONE", "target")
        assert 0 < row["pause"] < LIMITS.budget
        writer.until("target", 40)
        sides.migration(back=True).follow()
        row = sides.cutover(back=True).run()
        assert (row["step"], row["live"]) == ("DONE", "source")
        writer.until("source", 20)
    assert writer.by_side["target"] >= 40
    assert writer.lost("source") == {}
    for item in sides.tables.all(sides.tables.source("a")):
        assert "name" not in item


@pytest.mark.slow
def test_a_cutover_that_is_too_slow_leaves_everything_as_it_was(sides: Sides) -> None:
    close_new_side(sides)
    sides.tables.fill(20)
    with Writer(sides) as writer:
        writer.until("source", 10)
        sides.migration().copy()
        made = sides.cutover(limits=Limits(budget=0.2, margin=4, lease=15, request=3, skew=2))
        with pytest.raises(FearlessError, match=r"budget|aborted"):
            made.run()
        state = made.state()
        assert state is not None
        assert state["step"] == "ABORTED"
        writer.until("source", 20)
        row = sides.cutover().run()
        assert (row["attempt"], row["live"]) == (2, "target")
        writer.until("target", 5)
    assert writer.lost("target") == {}


@pytest.mark.slow
def test_killed_again_and_again(sides: Sides) -> None:
    close_new_side(sides)
    sides.tables.fill(20)
    root = Path(__file__).parents[2]
    steps = []
    with Writer(sides) as writer:
        writer.until("source", 10)
        sides.migration().copy()
        for delay in (2.0, 3.0, 4.0):
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, sides.emulator.url, sides.tables.tag],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(root)},
                stdout=subprocess.PIPE,
                text=True,
            )
            assert child.stdout is not None
            assert child.stdout.readline() == "started\n"
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            child.communicate()
            row = sides.rows.read()
            steps.append(row and row["step"])
            if row is None or row["step"] == "DONE":
                break
            if row["step"] != "OPEN" and len(steps) % 2 == 0:
                sides.cutover().abort()
                writer.until("source", 3)
        finish(sides)
        writer.until("target", 5)
    assert writer.lost("target") == {}, steps
    assert sides.fence("source").fenced()


def finish(sides: Sides) -> None:
    """As an operator would: go on with it, or begin again when it was undone."""
    for _ in range(8):
        made = sides.cutover()
        row = made.state()
        if row is not None and row["step"] == "DONE":
            return
        going = row is not None and row["step"] not in ("", "ABORTED")
        try:
            made.resume() if going else made.run()
        except FearlessError as error:
            sides.report.line(str(error))
            time.sleep(1)
    raise AssertionError(sides.report.lines[-20:])


@pytest.mark.slow
def test_late_writes_to_the_old_side(sides: Sides) -> None:
    close_new_side(sides)
    sides.tables.fill(10)
    sides.migration().copy()
    put(sides, "source", "a", "plain", title="1")
    put(sides, "source", "a", "moved", title="1")
    put(sides, "source", "b", "gone", title="1")
    sides.cutover().run()
    with pytest.raises(Refused, match="live already"):
        sides.cutover().run()
    migration = sides.migration()
    meta = migration._state.meta(migration._reader)
    assert meta is not None
    tables = list(migration._tables.make(meta, lambda: None).values())
    assert Stragglers(tables, sides.report, write=True).look().found == 0

    put(sides, "source", "a", "plain", title="2")
    put(sides, "source", "a", "new", title="1")
    put(sides, "target", "a", "moved", name="by the new release")
    put(sides, "source", "a", "moved", title="2")
    key = {"pk": {"S": "gone"}, "sk": {"S": "-"}}
    sides.client.delete_item(TableName=sides.name("source", "b"), Key=key)
    seen = Stragglers(tables, sides.report, write=True).look()
    assert (seen.applied, seen.conflicts) == (3, 1)
    assert get(sides, "target", "a", "plain")["name"] == {"S": "2"}
    assert get(sides, "target", "a", "new")["name"] == {"S": "1"}
    assert get(sides, "target", "a", "moved")["name"] == {"S": "by the new release"}
    assert get(sides, "target", "b", "gone") == {}
    (conflict,) = conflicts(tables[0])
    assert conflict["why"] == "the new item was changed as well"
    assert Stragglers(tables, sides.report, write=True).watch(0.1, 0.05).found == 0
    assert "was written on the old side after the fence" in "\n".join(sides.report.lines)


@pytest.mark.slow
def test_late_writes_are_told_from_what_the_way_back_writes(sides: Sides) -> None:
    close_new_side(sides)
    sides.tables.fill(10)
    migration = sides.migration()
    with pytest.raises(Refused, match="nothing has gone over"):
        migration.late()
    migration.copy()
    put(sides, "source", "a", "late", title="1")
    sides.cutover().run()
    put(sides, "target", "a", "new", name="by the new release")
    put(sides, "target", "a", "again", name="1")
    put(sides, "target", "a", "again", name="2")
    key = {"pk": {"S": "s"}, "sk": {"S": "1"}}
    sides.client.delete_item(TableName=sides.name("target", "b"), Key=key)
    sides.migration(back=True).follow()
    assert sides.migration().late() == Late()

    put(sides, "source", "a", "late", title="by somebody who was not stopped")
    found = sides.migration().late()
    assert (found.found, found.applied, found.conflicts) == (1, 0, 1)
    assert get(sides, "target", "a", "late")["name"] == {"S": "1"}
    assert sides.migration().late().conflicts == 1
    assert "was not brought over" in "\n".join(sides.report.lines)
    put(sides, "target", "a", "late", name="by somebody who was not stopped")
    assert sides.migration().late() == Late()


def put(sides: Sides, side: str, table: str, key: str, **values: str) -> None:
    item = {"pk": {"S": key}, "sk": {"S": "-"}, **{n: {"S": v} for n, v in values.items()}}
    sides.client.put_item(TableName=sides.name(side, table), Item=item)


def get(sides: Sides, side: str, table: str, key: str) -> Any:
    answer = sides.client.get_item(
        TableName=sides.name(side, table),
        Key={"pk": {"S": key}, "sk": {"S": "-"}},
        ConsistentRead=True,
    )
    return answer.get("Item", {})
