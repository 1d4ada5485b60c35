"""Class 2: keys that pass between source items; thousands of bad days, and each rule broken."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from fearless.data.calls import Caller
from fearless.data.items import Item
from fearless.data.tables import TableInfo
from fearless.data.transfer import Collision, Settle, Source, Transfer, no_doubt
from fearless.data.transform import Pipeline
from fearless.data.wire import Wire
from fearless.data.writer import Op, Rejected
from fearless.errors import FearlessError
from fearless.interfaces import Transform
from tests.conftest import Emulator
from tests.data.moto_server import moto
from tests.data.transferring import Race, Typed

__all__ = ["moto"]


def wrong_ends(seeds: range, race: type[Race] = Race) -> list[str]:
    wrong = []
    for seed in seeds:
        run = race(seed)
        run.run()
        if problem := run.wrong():
            wrong.append(f"seed {seed}: {problem}")
    return wrong


@pytest.mark.slow
def test_no_wrong_end_state() -> None:
    assert wrong_ends(range(500)) == []


def caught(transfer: type[Transfer], doubting: bool = True) -> bool:
    race = type("Broken", (Race,), {"transfer": transfer, "doubting": doubting})
    return any(wrong_ends(range(seed, seed + 1), race) for seed in range(2_000))


class PutsBlindly(Transfer):
    def _send(self, caller: Any, method: Any, owner: Any, key: Any, *rest: Any, **what: Any) -> Any:
        if "Item" in what:
            return caller.write(method, TableName=self._info.table, **what)
        return super()._send(caller, method, owner, key, *rest, **what)


class DeletesBlindly(Transfer):
    def _send(self, caller: Any, method: Any, owner: Any, key: Any, *rest: Any, **what: Any) -> Any:
        if "Key" in what:
            return caller.write(method, TableName=self._info.table, **what)
        return super()._send(caller, method, owner, key, *rest, **what)


class LastWriterWins(Transfer):
    def _dispute(self, op: Any, other: Any) -> Any:
        return self._take_over(op, op.item, other, self._source.look(other)[0])


class FirstWriterWins(Transfer):
    def _dispute(self, op: Any, other: Any) -> Any:
        return True, None


class AsksOnlyItself(Transfer):
    def _dispute(self, op: Any, other: Any) -> Any:
        _, outcome = self._source.look(op.item[self._attribute]["M"])
        want = outcome.outputs.get(op.key_id)
        if want is None:
            return True, None
        return self._take_over(op, want, other, self._source.look(other)[0])


class LooksOnce(Transfer):
    def _take_over(self, op: Any, want: Any, other: Any, theirs: Any) -> Any:
        doubt = self._doubt

        def hasty(pairs: Any) -> Settle:
            settle = doubt(pairs)
            return lambda safe: settle(True)

        self._doubt = hasty
        try:
            return super()._take_over(op, want, other, theirs)
        finally:
            self._doubt = doubt


@pytest.mark.parametrize(
    "broken",
    [PutsBlindly, DeletesBlindly, LastWriterWins, FirstWriterWins, AsksOnlyItself, LooksOnce],
)
@pytest.mark.slow
def test_caught(broken: type[Transfer]) -> None:
    assert caught(broken)


@pytest.mark.slow
def test_caught_taking_over_without_a_doubt_on_record() -> None:
    assert caught(Transfer, doubting=False)


# ---------------------------------------------------------------- on real engines


def by_mail(item: Item) -> list[Item]:
    if item["mail"] == "broken":
        raise ValueError("broken")
    if item["mail"] == "large":
        return [Item.of({"mail": "large", "at": 1, "text": "x" * 500})]
    return [Item.of({"mail": item["mail"], "at": 1, "name": item["name"]})] if item["mail"] else []


BY_MAIL = Transform("by-mail", ("users",), by_mail, "transferable", owner_attribute="of")


def described(client: Any, table: str, keys: Sequence[tuple[str, str, str]]) -> TableInfo:
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": n, "KeyType": role} for n, role, _ in keys],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": kind} for n, _, kind in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    return TableInfo.of(client.describe_table(TableName=table)["Table"])


class Desk:
    """Users by number on one side, by mail on the other."""

    def __init__(self, client: Any, maker: Any) -> None:
        tag = uuid.uuid4().hex[:8]
        self.client, self.maker = client, maker
        self.source = described(maker, f"users-{tag}", [("id", "HASH", "N")])
        self.target = described(
            maker, f"mails-{tag}", [("mail", "HASH", "S"), ("at", "RANGE", "N")]
        )
        self.migrate = Pipeline("users", self.target, [BY_MAIL], self.source)
        self.collisions: list[tuple[Typed, str, Typed]] = []
        self.doubts: list[bool] = []
        self.raised = 0

    def user(self, number: str, mail: str, name: str = "n") -> Op:
        """Change a user, and say what is to be written for it."""
        typed = {"id": {"N": number}, "mail": {"S": mail}, "name": {"S": name}}
        self.maker.put_item(TableName=self.source.table, Item=typed)
        outputs = self.migrate(typed).outputs
        ((key_id, output),) = outputs.items() or [(b"", {})]
        source = self.source.key_id(typed)
        return Op(key_id, self.target.key(output) if output else {}, output, source)

    def gone(self, op: Op) -> Op:
        return Op(op.key_id, op.key, None, op.source)

    def transfer(self) -> Transfer:
        def doubt(pairs: Sequence[tuple[Typed, Typed]]) -> Settle:
            self.raised += 1
            assert len(pairs) == 2
            return self.doubts.append

        def collided(key: Typed, message: str, target: Typed) -> None:
            self.collisions.append((key, message, target))

        def run(tasks: Sequence[Callable[[], list[Rejected]]]) -> list[list[Rejected]]:
            with ThreadPoolExecutor(4) as pool:
                return [part.result() for part in [pool.submit(task) for task in tasks]]

        clock = random.Random(1).random
        caller = Caller(lambda: None, lambda: None, clock, lambda seconds: None)
        source = Source(self.source, self.migrate, self.read)
        return Transfer(self.client, self.target, caller, source, doubt, collided, run)

    def read(self, key: Typed) -> Typed | None:
        answer = self.client.get_item(TableName=self.source.table, Key=key, ConsistentRead=True)
        item: Typed | None = answer.get("Item")
        return item

    def mails(self) -> dict[str, str]:
        items = self.maker.scan(TableName=self.target.table, ConsistentRead=True)["Items"]
        return {i["mail"]["S"]: i["of"]["M"]["id"]["N"] if "of" in i else "nobody" for i in items}


@pytest.fixture(params=["wire", "boto3", "moto"])
def desk(request: pytest.FixtureRequest, emulator: Emulator) -> Desk:
    if request.param == "moto":
        engine = request.getfixturevalue("moto")
        return Desk(engine, engine)
    maker = emulator.client("dynamodb")
    if request.param == "boto3":
        return Desk(maker, maker)
    wire = Wire("dynamodb", emulator.url, "us-east-1", Credentials("test", "test"))
    return Desk(wire, maker)


def test_a_key_passes_on_in_either_order(desk: Desk) -> None:
    old = desk.user("1", "a")
    assert desk.transfer().write([old]) == []
    desk.user("1", "")
    new = desk.user("2", "a")
    assert desk.transfer().write([new]) == []
    assert (desk.raised, desk.doubts) == (1, [True])
    assert desk.transfer().write([desk.gone(old), old]) == []
    assert desk.mails() == {"a": "2"}
    desk.user("2", "")
    back = desk.user("1", "a")
    assert desk.transfer().write([back, desk.gone(new)]) == []
    assert desk.mails() == {"a": "1"}
    assert desk.raised == 1
    assert desk.transfer().write([desk.gone(back)]) == []
    assert desk.transfer().write([desk.gone(back)]) == []
    assert desk.mails() == {}


def test_two_that_want_one_key_are_both_set_aside(desk: Desk) -> None:
    first, second = desk.user("1", "a"), desk.user("2", "a")
    assert desk.transfer().write([first]) == []
    (refused,) = desk.transfer().write([second])
    assert isinstance(refused, Collision)
    assert refused.op == second
    assert refused.message == "an output's key is wanted by another source item too: id=1"
    ((key, message, target),) = desk.collisions
    assert key == {"id": {"N": "1"}}
    assert message == "an output's key is wanted by another source item too: id=2"
    assert target == first.key
    assert desk.mails() == {"a": "1"}
    assert desk.raised == 0


def test_many_at_once(desk: Desk) -> None:
    ops = [desk.user(str(n), f"m{n % 30}") for n in range(40)]
    refused = desk.transfer().write(ops)
    assert {answer.op.key["mail"]["S"] for answer in refused} == {f"m{n}" for n in range(10)}
    assert len(desk.collisions) == 10
    assert len({answer.op.source for answer in refused}) == 20
    assert len(desk.mails()) == 30


def test_a_number_has_many_spellings(desk: Desk) -> None:
    op = desk.user("1", "a")
    desk.maker.put_item(
        TableName=desk.target.table, Item={**(op.item or {}), "of": {"M": {"id": {"N": "1.0"}}}}
    )
    assert desk.transfer().write([op]) == []
    assert desk.transfer().write([desk.gone(op)]) == []
    assert desk.mails() == {}


def test_what_belongs_to_nobody_is_not_overwritten(desk: Desk) -> None:
    op = desk.user("1", "a")
    stranger = {"mail": {"S": "a"}, "at": {"N": "1"}}
    desk.maker.put_item(TableName=desk.target.table, Item=stranger)
    (refused,) = desk.transfer().write([op])
    assert "belongs to no source item" in refused.message
    assert desk.transfer().write([desk.gone(op)]) == []
    assert desk.mails() == {"a": "nobody"}


def test_an_owner_that_cannot_be_migrated_keeps_its_outputs(desk: Desk) -> None:
    assert desk.transfer().write([desk.user("1", "a")]) == []
    desk.maker.put_item(
        TableName=desk.source.table,
        Item={"id": {"N": "1"}, "mail": {"S": "broken"}, "name": {"S": "n"}},
    )
    (refused,) = desk.transfer().write([desk.user("2", "a")])
    assert refused.message.startswith("an output's key belongs to id=1, which cannot be migrated")


def test_what_the_table_refuses_is_rejected_alone(desk: Desk) -> None:
    large = desk.user("1", "large")
    assert large.item is not None
    large.item["text"] = {"S": "x" * 500_000}
    fine = desk.user("2", "b")
    (refused,) = desk.transfer().write([large, fine])
    assert refused.op == large
    assert "size" in refused.message.lower()
    assert desk.mails() == {"b": "2"}


def test_every_write_asks_the_brake_and_an_unknown_one_stays_in_doubt(desk: Desk) -> None:
    class Brake:
        asked = 0

        def acquire(self, writes: int, guard: Callable[[], None]) -> None:
            self.asked += writes

        def throttled(self, share: float = 1.0) -> None:
            raise AssertionError

    old, new = desk.user("1", "a"), desk.user("2", "a")
    desk.user("1", "")
    transfer, brake, missed = desk.transfer(), Brake(), []
    transfer._caller.brake = brake
    transfer._caller.unknown = lambda: missed.append(1)
    assert transfer.write([old]) == []
    lose = [True]
    put = transfer._caller.write

    class Lossy:
        def __getattr__(self, name: str) -> Any:
            return getattr(desk.client, name)

        def put_item(self, **request: Any) -> Any:
            answer = desk.client.put_item(**request)
            if request["ConditionExpression"] == "#owner = :owner" and lose.pop():
                from botocore.exceptions import ReadTimeoutError

                raise ReadTimeoutError(endpoint_url="http://lossy")
            return answer

    assert put is not None
    transfer._client = Lossy()
    assert transfer.write([new]) == []
    assert desk.doubts == [False]
    assert missed == [1]
    assert desk.mails() == {"a": "2"}
    assert brake.asked == 4


def test_other_errors_are_explained_in_one_line(desk: Desk) -> None:
    op = desk.user("1", "a")

    class Denied:
        def put_item(self, **request: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Put")

    transfer = desk.transfer()
    transfer._client = Denied()
    with pytest.raises(FearlessError, match="not authorised: writing to mails-"):
        transfer.write([op])


def test_the_first_copy_keeps_no_doubts() -> None:
    no_doubt([({}, {})])(False)
