"""Classes 2 and 3 bound to a run's table: rows, quarantine, suspects, on a real engine."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from fearless.data.apply import window
from fearless.data.calls import Caller
from fearless.data.context import Table
from fearless.data.doubts import transfer_of, writer_of
from fearless.data.gather import apply_groups, groups_of, merger_of, retry_groups, settle_groups
from fearless.data.groups import Group
from fearless.data.items import Item
from fearless.data.job import Clients
from fearless.data.machinery import Machinery
from fearless.data.quarantine import Quarantine
from fearless.data.settings import Settings
from fearless.data.state import StateTable
from fearless.data.tables import TableInfo
from fearless.data.touched import SUSPECTS, Touched, listed
from fearless.data.transform import Pipeline
from fearless.data.writer import Op
from fearless.errors import FearlessError
from fearless.interfaces import Transform
from tests.conftest import Emulator
from tests.data.merging import DAYS
from tests.data.transferring import TRANSFER, Typed


class Lossy:
    """A client whose writes to the target are done, but for once not answered."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.lose: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**request: Any) -> Any:
            answer = method(**request)
            if name in self.lose and "state" not in request.get("TableName", ""):
                self.lose.remove(name)
                raise ReadTimeoutError(endpoint_url="http://lossy")
            return answer

        return call


class Bench:
    def __init__(self, emulator: Emulator, transform: Transform, keys: Sequence[str]) -> None:
        self.maker = emulator.client("dynamodb")
        self.client = Lossy(self.maker)
        tag = uuid.uuid4().hex[:8]
        source, target = self.create(f"a-{tag}", keys), self.create(f"b-{tag}", keys)
        self.create(f"state-{tag}", ("pk", "sk"))
        state = StateTable(self.maker, f"state-{tag}", "run")

        def caller() -> Caller:
            kit = Machinery()
            return Caller(lambda: None, lambda: None, kit.clock, kit.sleep)

        self.table = Table(
            name="t",
            source=source,
            target=target,
            migrate=Pipeline("t", target, [transform], source),
            position={"t0": 0},
            generation=1,
            clients=Clients(self.client, None, self.client, self.maker),
            state=state,
            quarantine=Quarantine(state, caller, 1, "t"),
            settings=Settings(zombie=0.0),
            machinery=Machinery(),
            brake=None,
            guard=lambda: None,
        )

    def create(self, name: str, keys: Sequence[str]) -> TableInfo:
        roles = list(zip(keys, ("HASH", "RANGE"), strict=False))
        self.maker.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": n, "KeyType": role} for n, role in roles],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        return TableInfo.of(self.maker.describe_table(TableName=name)["Table"])

    def put(self, **values: Any) -> Typed:
        typed = Item.of(values).typed
        self.maker.put_item(TableName=self.table.source.table, Item=typed)
        return typed

    def record(self, old: Typed | None, new: Typed | None) -> Typed:
        change = {"Keys": self.table.source.key(new or old or {}), "SequenceNumber": "1"}
        images = {"OldImage": old, "NewImage": new, "ApproximateCreationDateTime": 10**10}
        return {"dynamodb": {**change, **{n: image for n, image in images.items() if image}}}

    def target(self) -> list[dict[str, Any]]:
        items = self.maker.scan(TableName=self.table.target.table, ConsistentRead=True)["Items"]
        return sorted((dict(Item(item).items()) for item in items), key=str)

    def suspects(self) -> list[Touched]:
        return [entry for row in listed(self.table, SUSPECTS) for entry in row.touched]


def test_groups_of_a_window(emulator: Emulator) -> None:
    bench = Bench(emulator, DAYS, ("store", "sk"))
    table = bench.table
    old = bench.put(store="s", sk="i1", day="mo", v=5)
    merger_of(table).copy([old], table.writer(table.reader).write)
    new = bench.put(store="s", sk="i1", day="tu", v=5)
    bench.client.lose = ["batch_write_item"]
    missed: list[bool] = []
    caller = table.caller(lambda: missed.append(True))
    touched = apply_groups(table, caller, window(table, [bench.record(old, new)]))
    assert missed == [True]
    assert [entry["sk"] for entry in bench.target()] == ["tu#2"]
    by_name = {Group.of(entry.source).name: list(entry.targets) for entry in touched}
    key = {"store": {"S": "s"}}
    assert by_name == {
        "mo": [{**key, "sk": {"S": "mo#2"}}],
        "tu": [{**key, "sk": {"S": "tu#2"}}],
    }
    assert bench.suspects() == []
    bench.maker.put_item(TableName=table.target.table, Item={**key, "sk": {"S": "mo#2"}})
    bench.client.lose = ["batch_write_item"]
    again = settle_groups(table, touched)
    assert {Group.of(e.source).name for e in again} == {"mo", "tu"}
    assert [entry["sk"] for entry in bench.target()] == ["tu#2"]
    assert len(bench.suspects()) == 2


def test_a_group_that_never_stands_still_becomes_a_suspect(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(emulator, DAYS, ("store", "sk"))
    table = bench.table
    item = bench.put(store="s", sk="i1", day="mo", v=1)
    monkeypatch.setattr("fearless.data.merge.state", lambda members: uuid.uuid4().bytes)
    (touched,) = apply_groups(table, table.reader, window(table, [bench.record(None, item)]))
    assert bench.suspects() == [touched]
    with pytest.raises(FearlessError, match="the group store='s', ~group='mo' changed all the"):
        settle_groups(table, [touched])


def test_quarantined_members_are_tried_again(emulator: Emulator) -> None:
    bench = Bench(emulator, DAYS, ("store", "sk"))
    table = bench.table
    items = [bench.put(store="s", sk=f"i{n}", day="mo", v=n, bad=n == 1) for n in range(3)]
    counts = merger_of(table).copy(items, table.writer(table.reader).write)
    assert counts["quarantined"] == len(table.quarantine) == 3
    bench.put(store="s", sk="i1", day="mo", v=1)
    retry_groups(table, [row["key"] for row in table.quarantine.rows()])
    assert len(table.quarantine) == 0
    assert [entry["sum"] for entry in bench.target()] == [3]
    (group,) = groups_of(table).find(items)[0].values()
    assert group.name == "mo"


def test_transfers_raise_doubts_and_set_both_aside(emulator: Emulator) -> None:
    bench = Bench(emulator, TRANSFER, ("id",))
    table = bench.table

    def op(key: str, *names: str) -> Op:
        typed = bench.put(id=key, v=1, names=list(names))
        ((key_id, output),) = table.migrate(typed).outputs.items()
        return Op(key_id, table.target.key(output), output, table.source.key_id(typed))

    assert writer_of(table, table.reader, copying=True).write([op("k1", "x")]) == []
    bench.put(id="k1", v=2, names=[])
    second = op("k2", "x")
    assert transfer_of(table, table.reader).write([second]) == []
    assert bench.suspects() == []
    assert [entry["of"] for entry in bench.target()] == [{"id": "k2"}]

    missed: list[bool] = []
    bench.put(id="k2", v=2, names=[])
    lossy, real = op("k1", "x"), bench.client.__getattr__("put_item")

    def put_item(**request: Any) -> Any:
        if request["ConditionExpression"] == "#owner = :owner" and not missed:
            bench.client.lose = ["put_item"]
        try:
            return real(**request)
        finally:
            bench.client.lose = []

    bench.client.put_item = put_item  # type: ignore[attr-defined]
    caller = table.caller(lambda: missed.append(True))
    assert transfer_of(table, caller).write([lossy]) == []
    assert missed == [True]
    assert [entry["of"] for entry in bench.target()] == [{"id": "k1"}]
    assert {entry.source["id"]["S"] for entry in bench.suspects()} == {"k1", "k2"}

    (refused,) = transfer_of(table, table.reader).write([op("k3", "x")])
    assert refused.message.endswith("by another source item too: id='k1'")
    (row,) = table.quarantine.rows()
    assert (row["key"], row["error"]) == ({"id": {"S": "k1"}}, "Collision")
    assert row["message"].endswith("by another source item too: id='k3'")
