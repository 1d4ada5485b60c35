"""What every copy engine keeps: each unit done, whoever dies; nothing runs afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fearless.data.engine import Migration
from fearless.data.hire import connect
from fearless.data.job import Endpoint, Engine, Job, Pair
from fearless.data.machinery import Machinery
from fearless.data.membership import workers
from fearless.data.settings import Settings
from fearless.data.state import Row, StateTable
from fearless.data.unit import Crew, Unit
from fearless.errors import FearlessError
from fearless.interfaces import CopyEngine, Report, Transform
from fearless.testing.contracts import engine_work
from fearless.testing.contracts.given import Contract, explained
from fearless.testing.emulator import Emulator

TABLE = "orders"
ITEMS = 600
SETTINGS = Settings(segments=8, zombie=0.3, skew=2.0, lease=8.0, poll=0.1, page=10, tip_polls=2)
"""Small pages, so that there is a lot to stop between."""
SLOW = 150.0
"""Items a second: whoever looks after a while still finds the work under way."""
PATIENCE = 60.0


class Keys:
    """The emulator's root credentials."""

    access_key = secret_key = "test"
    token = None

    def get_frozen_credentials(self) -> Keys:
        """They never change."""
        return self


class Work:
    """A data run of one table with some hundred items, whose work takes a few seconds."""

    def __init__(self, emulator: Emulator, report: Report, settings: Settings) -> None:
        tag = uuid.uuid4().hex[:8]
        self.report = report
        self.client = emulator.client("dynamodb")
        self.pair = Pair(TABLE, f"{TABLE}-old-{tag}", f"{TABLE}-new-{tag}")
        self.tables = (self.pair.source, self.pair.target, f"state-{tag}")
        for table, keys in zip(self.tables, ("k", "k", "pk sk"), strict=True):
            self._create(table, keys.split())
        self.put(range(ITEMS))
        where = Endpoint(emulator.url, "us-east-1")
        self.job = Job(
            run=f"run-{tag}",
            state_table=self.tables[2],
            pairs=(self.pair,),
            settings=settings,
            source=where,
            target=where,
            state=where,
            transforms=engine_work.LOADER,
            credentials=dict.fromkeys(("source", "target", "state"), Keys()),
        )
        self.clients = connect(self.job)
        self.state = StateTable(self.clients.state, self.job.state_table, self.job.run)

    def migration(
        self, engine: Engine | None, transforms: Sequence[Transform] | None = None
    ) -> Migration:
        """The run, its work being done by that engine."""
        return Migration(
            self.job.run,
            self.job.pairs,
            engine_work.transforms() if transforms is None else transforms,
            self.clients,
            self.job.state_table,
            self.report,
            self.job.settings,
            Machinery(wall=self.clients.state.clock),
            engine=engine,
            job=self.job,
        )

    def put(self, numbers: Sequence[int], text: str = "") -> None:
        """Put items of these numbers into the source."""
        items: list[Any] = [
            {"PutRequest": {"Item": {"k": {"S": f"o{number}"}, "text": {"S": text or "x" * 200}}}}
            for number in numbers
        ]
        for start in range(0, len(items), 25):
            batch = {self.pair.source: items[start : start + 25]}
            assert not self.client.batch_write_item(RequestItems=batch)["UnprocessedItems"]

    def equal(self) -> bool:
        """Whether the target holds exactly what the source does."""
        return self._all(self.pair.source) == self._all(self.pair.target)

    def rows(self) -> list[Row]:
        """The rows of the parts: which are done, and who has which in hand."""
        meta = self.state.meta(self._caller) or {"generation": 0}
        return self.state.rows(self._caller, int(meta["generation"]), f"T#{TABLE}#S")

    def workers(self) -> list[Row]:
        """The rows of those who take part."""
        return workers(self.state, self._caller)

    @property
    def _caller(self) -> Any:
        return self.migration(None)._reader

    def delete(self) -> None:
        """Remove every table."""
        for table in self.tables:
            self.client.delete_table(TableName=table)

    def _create(self, table: str, keys: Sequence[str]) -> None:
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        self.client.create_table(
            TableName=table,
            KeySchema=[
                {"AttributeName": key, "KeyType": role}
                for key, role in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
            **({"StreamSpecification": stream} if keys == ["k"] else {}),
        )

    def _all(self, table: str) -> dict[str, Any]:
        pages = self.client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return {item["k"]["S"]: item for page in pages for item in page["Items"]}


class Repeating:
    """An engine whose crew is offered everything three times."""

    def __init__(self, engine: CopyEngine) -> None:
        self._engine = engine

    @contextlib.contextmanager
    def _crew(self, job: Job, report: Report) -> Iterator[Any]:
        with self._engine.crew(job, report) as crew:

            class Again:
                def offer(self, units: Sequence[Unit]) -> None:
                    for _ in range(3):
                        crew.offer([*units, *units])

            yield Again()

    def crew(self, job: Job, report: Report) -> Crew:
        """The crew of the engine."""
        return self._crew(job, report)  # type: ignore[return-value]


class CopyEngineContract(Contract):
    """`provider` is the engine. Its workers run on this machine and reach the emulator.

    `immortal` engines have no worker processes that could be killed without this one.
    """

    immortal = False

    @pytest.fixture
    def provider(self) -> CopyEngine:
        """The engine."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def settings(self) -> Settings:
        """How the run is done."""
        return SETTINGS

    @pytest.fixture
    def work(
        self, fearless_emulator: Emulator, report: Report, settings: Settings
    ) -> Iterator[Work]:
        """A run that nobody began."""
        made = Work(fearless_emulator, report, settings)
        yield made
        made.delete()

    def test_it_is_a_copy_engine(self, provider: CopyEngine) -> None:
        assert isinstance(provider, CopyEngine)

    def test_everything_is_copied_followed_and_compared(
        self, provider: CopyEngine, work: Work
    ) -> None:
        migration = work.migration(provider)
        state = migration.copy()
        assert (state.phase, state.read, state.written) == ("replay", ITEMS, ITEMS)
        assert work.equal()
        work.put(range(0, ITEMS, 7), "changed")
        assert migration.follow().applied >= ITEMS // 7
        assert work.equal()
        assert migration.verify().clean

    def test_offering_again_is_harmless(self, provider: CopyEngine, work: Work) -> None:
        state = work.migration(Repeating(provider)).copy()
        assert (state.read, state.written) == (ITEMS, ITEMS)
        assert work.equal()

    @pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
    def test_what_a_worker_had_in_hand_that_fell_silent_is_done_by_others(
        self, provider: CopyEngine, work: Work, blow: signal.Signals
    ) -> None:
        if self.immortal:
            pytest.skip("its workers are threads of this process")
        hit: list[int] = []
        hitter = threading.Thread(target=self._hit, args=(work, blow, hit), daemon=True)
        hitter.start()
        state = work.migration(provider).copy()
        hitter.join()
        assert hit, "no worker had anything in hand that could be taken from it"
        assert state.read >= ITEMS
        assert work.equal()
        with contextlib.suppress(ProcessLookupError):
            os.kill(hit[0], signal.SIGCONT)
        work.put([1], "changed")
        assert work.migration(provider).follow().phase == "replay"
        assert work.equal(), "who comes back does no harm"

    def test_what_a_worker_fails_with_is_raised(self, provider: CopyEngine, work: Work) -> None:
        with explained() as caught:
            work.migration(provider, transforms=()).copy()
        assert "transforms" in str(caught.value)

    def test_nothing_runs_afterwards(self, provider: CopyEngine, work: Work) -> None:
        work.job = replace(work.job, settings=replace(work.job.settings, max_rate=SLOW))
        with pytest.raises(Enough):
            work.migration(Leaving(provider, work)).copy()
        rows = work.rows()
        assert not [row["owner"] for row in rows if row["owner"]], "they let go"
        assert any(int(row["read"]) for row in rows), "they checkpointed"
        assert not all(row["done"] for row in rows), "they did not go on to the end"
        time.sleep(1)
        assert work.rows() == rows
        assert work.workers() == []
        assert work.migration(provider).copy().read == ITEMS
        assert work.equal()

    def _hit(self, work: Work, blow: signal.Signals, hit: list[int]) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            busy = {row["owner"] for row in work.rows() if row["owner"] and int(row["read"])}
            for row in work.workers():
                if row["owner"] in busy and int(row["pid"]) != os.getpid():
                    hit.append(int(row["pid"]))
                    os.kill(hit[0], blow)
                    return
            time.sleep(0.01)


class Enough(FearlessError):
    """Somebody wanted to stop."""


class Leaving(Repeating):
    """An engine whose crew is left as soon as some of the work is done."""

    def __init__(self, engine: CopyEngine, work: Work) -> None:
        super().__init__(engine)
        self._work = work

    @contextlib.contextmanager
    def _crew(self, job: Job, report: Report) -> Iterator[Any]:
        work = self._work
        with self._engine.crew(job, report) as crew:

            class Stopping:
                def offer(self, units: Sequence[Unit]) -> None:
                    crew.offer(units)
                    if sum(int(row["read"]) for row in work.rows()) > ITEMS // 20:
                        raise Enough("somebody wanted to stop")

            yield Stopping()
