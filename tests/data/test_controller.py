"""Who drives a cutover: the row in the state table, the lease, and the thread that renews it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from fearless.data.calls import Caller
from fearless.data.controller import Controller, CutoverRow, Lost
from fearless.data.cutover import Cutover
from fearless.data.fences import Memory
from fearless.data.withdrawal import Limits
from fearless.errors import FearlessError, Refused
from fearless.interfaces import DataState, Verdict
from fearless.owner import Owner, boottime
from fearless.testing.emulator import Emulator

CALLER = Caller(lambda: None, lambda: None, boottime, time.sleep)


class LosesAnswers:
    """A client whose first write is done and never answered."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **request: Any) -> Any:
        answer = self._client.put_item(**request)
        if not self.lost:
            self.lost += 1
            raise ReadTimeoutError(endpoint_url="x")
        return answer


@pytest.fixture
def state(emulator: Emulator) -> Iterator[tuple[Any, str]]:
    client, table = emulator.client("dynamodb"), f"state-{uuid.uuid4().hex[:8]}"
    client.create_table(
        TableName=table,
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    yield client, table
    client.delete_table(TableName=table)


def test_the_row_has_one_winner(state: tuple[Any, str]) -> None:
    client, table = state
    row = CutoverRow(client, table, "run", CALLER)
    assert row.read() is None
    assert row.swap({"step": "TURN", "version": 1, "by": "a"}, None)
    assert not row.swap({"step": "TURN", "version": 1, "by": "b"}, None)
    assert row.swap({"step": "OPEN", "version": 2, "by": "a"}, 1)
    assert not row.swap({"step": "ABORTED", "version": 2, "by": "b"}, 1)
    found = row.read()
    assert found is not None
    assert (found["step"], found["by"]) == ("OPEN", "a")
    assert CutoverRow(client, table, "other", CALLER).read() is None


def test_a_write_whose_answer_is_lost_has_won(state: tuple[Any, str]) -> None:
    flaky = LosesAnswers(state[0])
    row = CutoverRow(flaky, state[1], "run", CALLER)
    assert row.swap({"step": "CHECK", "version": 1, "fenced_at": 1.5, "evidence": {}}, None)
    assert flaky.lost == 1


def test_what_fences_remember(state: tuple[Any, str]) -> None:
    memory: Memory = CutoverRow(*state, "run", CALLER)
    assert memory.load("policy arn") is None
    memory.save("policy arn", {"text": "", "up": True})
    found = memory.load("policy arn")
    assert found is not None
    assert (found["text"], found["up"]) == ("", True)


class Shelf:
    """The row in memory."""

    def __init__(self) -> None:
        self.row: dict[str, Any] | None = None
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any] | None:
        return self.row and dict(self.row)

    def swap(self, row: dict[str, Any], seen: int | None) -> bool:
        with self._lock:
            if (self.row and self.row["version"]) != seen:
                return False
            self.row = dict(row)
            return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def owner(name: str) -> Owner:
    return Owner(name, "", 1, "1", name)


def controller(shelf: Shelf, clock: Clock, name: str, report: Any) -> Controller:
    return Controller(shelf, report, clock, clock.sleep, owner(name))


def test_a_paused_controller_may_do_nothing_more(report: Any) -> None:
    shelf, clock = Shelf(), Clock()
    with controller(shelf, clock, "a", report) as hold:
        hold.guard()
        version = hold.row["version"]
        clock.now += 12
        hold.guard()
        assert hold.row["version"] == version + 1
        clock.now += 21
        with pytest.raises(Lost, match="paused for too long"):
            hold.guard()


def test_a_silent_controller_is_replaced_and_a_live_one_is_not(report: Any) -> None:
    shelf, clock = Shelf(), Clock()
    first = controller(shelf, clock, "a", report)
    first.__enter__()
    with controller(shelf, clock, "b", report) as second:
        assert clock.now >= 130
        assert second.row["owner"] == "b"
        with pytest.raises(Lost, match="aborted this cutover or taken it over"):
            first.change(step="OPEN")
        plain = clock.sleep

        def alive(seconds: float) -> None:
            plain(seconds)
            second.change()

        clock.sleep = alive  # type: ignore[method-assign]
        with pytest.raises(Refused, match="process 1 on b is driving this cutover"):
            controller(shelf, clock, "c", report).__enter__()
        clock.sleep = plain  # type: ignore[method-assign]
    assert shelf.row is not None
    assert shelf.row["owner"] == ""
    with controller(shelf, clock, "d", report) as third:
        assert third.row["owner"] == "d"


class Gate:
    """A fence that lifts itself never."""

    timed = False

    def __init__(self) -> None:
        self.up = False

    def fence(self, attempt: int, seconds: float | None) -> None:
        self.up = True

    def unfence(self, attempt: int) -> None:
        self.up = False

    def confirm(self, report: Any) -> str:
        return "closed"

    def fenced(self) -> bool:
        return self.up


class Hangs:
    """Moves nothing; its drain hangs until the fence is lifted."""

    verified = True

    def __init__(self, gate: Gate, hang: bool) -> None:
        self._gate = gate
        self._hang = hang

    def state(self) -> DataState:
        return DataState(phase="replay", lag=0.0)

    def follow(self) -> DataState:
        return self.state()

    def drain(self) -> DataState:
        deadline = time.monotonic() + 10
        while self._hang and self._gate.up:
            assert time.monotonic() < deadline, "nobody lifted the fence"
            time.sleep(0.02)
        return self.state()

    def verify(self, still: bool = False) -> Verdict:
        return Verdict(0)

    def turn(self) -> None:
        pass


@pytest.mark.parametrize("hang", [False, True])
def test_the_thread_lifts_the_fence_when_a_step_hangs_beyond_the_budget(
    hang: bool, report: Any
) -> None:
    shelf, source, target = Shelf(), Gate(), Gate()
    limits = Limits(budget=0.6, margin=1.0, lease=1.5, request=0.4, skew=0.1)
    made = Cutover(shelf, Hangs(source, hang), source, target, report, limits=limits)
    if not hang:
        assert made.run()["live"] == "target"
        assert source.up
        assert not target.up
        return
    with pytest.raises(FearlessError, match="aborted: step DRAIN did not end within 1 s"):
        made.run()
    assert not source.up
    assert target.up
