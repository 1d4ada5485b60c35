"""Take part in a run: claim parts of it and work on them, under a lease of one's own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from types import TracebackType

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.apply import apply as apply_difference
from fearless.data.backward import apply_back
from fearless.data.calls import Caller
from fearless.data.claim import Claim
from fearless.data.collector import rarely
from fearless.data.context import Table
from fearless.data.copy import copy_segment, new_segment, segment_sk
from fearless.data.digest import digest_part
from fearless.data.gather import apply_groups, merger_of
from fearless.data.job import Clients, Job
from fearless.data.machinery import Machinery
from fearless.data.membership import Halted, LeaseLost, Membership
from fearless.data.position import Gap
from fearless.data.rate import Rate
from fearless.data.replay import SUSPECT_RECORDS, Apply, Replay, new_shard, shard_sk
from fearless.data.signals import Signals
from fearless.data.state import Outdated, Row, StateTable
from fearless.data.tablekit import Tables, same_code
from fearless.data.unit import Unit
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Transform

FAILURES = "FAIL#"


class Worker:
    """A worker of one job while in a `with` block. `perform` may be called from many threads."""

    def __init__(
        self,
        job: Job,
        transforms: Sequence[Transform],
        clients: Clients,
        machinery: Machinery | None = None,
    ) -> None:
        kit = machinery or Machinery()
        self._kit = kit
        self._state = StateTable(clients.state, job.state_table, run_key(job.run, job.back))
        self._halt = threading.Event()
        self._signals = signals = Signals(self._state, kit)
        brake = Rate(
            kit.clock,
            kit.sleep,
            job.settings.max_rate,
            lambda: signals.workers,
            lambda: signals.paused,
            self._halt.is_set,
        )
        self._run = Tables(
            job.pairs, transforms, clients, self._state, job.settings, kit, job.back, brake
        )
        self._member = Membership(
            self._state,
            job.settings.lease,
            clock=kit.clock,
            wall=kit.wall,
            sleep=kit.sleep,
            owner=kit.owner(),
            heartbeat=kit.heartbeat,
            beat=self._signals.look,
        )
        self._lock = threading.Lock()
        self._tables: dict[int, dict[str, Table]] = {}
        self._hands: set[tuple[str, str, str]] = set()
        self._rarely = rarely()

    def __enter__(self) -> Worker:
        self._rarely.__enter__()
        self._member.__enter__()
        self._signals.look()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._rarely.__exit__(kind, error, trace)
        if self._hands:
            self._member.abandon()
        self._member.__exit__(kind, error, trace)

    def stop(self) -> None:
        """Finish the page or window that was begun, checkpoint, let go: units return soon."""
        self._halt.set()

    def perform(self, unit: Unit) -> bool:
        """Work on a part; False when it is not finished: somebody else has it, or time is up.

        What goes wrong is kept in a row for the coordinator, and raised.
        """
        if self._halt.is_set():
            return False
        try:
            self._member.awake()
            return self._perform(unit)
        except (LeaseLost, Outdated):
            if self._member.lost:
                raise
            return False
        except Halted:
            return False
        except FearlessError as error:
            self._remember(unit, error)
            raise

    def _perform(self, unit: Unit) -> bool:
        if not self._take_up(unit):
            return False
        try:
            return self._work(unit)
        finally:
            with self._lock:
                self._hands.discard((unit.kind, unit.table, unit.part))

    def _take_up(self, unit: Unit) -> bool:
        """False when another thread of this process has the part in hand."""
        part = (unit.kind, unit.table, unit.part)
        with self._lock:
            new = part not in self._hands
            self._hands.add(part)
        return new

    def _work(self, unit: Unit) -> bool:
        meta = self._state.meta(self._caller())
        if meta is None or unit.table not in meta.get("tables", {}):
            return False
        if not same_code(meta, self._run.digests()):
            raise Refused(
                f"this worker's transforms of table {unit.table} are not those that the run was "
                "begun with: it must run the same code as the release"
            )
        if unit.kind == "copy":
            return meta["phase"] == "copying" and self._copy(unit, meta)
        if meta["phase"] != "replay":
            return False
        return self._follow(unit, meta) if unit.kind == "follow" else self._digest(unit, meta)

    def _copy(self, unit: Unit, meta: Row) -> bool:
        table = self._table(unit, meta)
        number = int(unit.part)
        new = new_segment(number, int(meta["segments"]))
        claim = Claim.take(table, segment_sk(number), new, self._member)
        if claim is None:
            return False
        try:
            merger = merger_of(table) if table.migrate.kind == "collection" else None
            stopping = self._halt.is_set
            return self._current(meta) and copy_segment(table, claim, stopping, merger)
        finally:
            self._release(claim)

    def _follow(self, unit: Unit, meta: Row) -> bool:
        table = self._table(unit, meta)
        watch = int(meta["watch"])
        if not self._due(table, unit.part):
            return False
        claim = Claim.take(
            table,
            shard_sk(unit.part),
            new_shard(unit.part, None),
            self._member,
            {"suspect": SUSPECT_RECORDS},
            watch=watch,
        )
        if claim is None:
            return False
        if not self._current(meta):
            self._release(claim)
            return False
        table.quarantine.reload()
        apply = _how(table)
        try:
            replay = Replay(table, claim, apply, watch)
            return replay.run(unit.seconds, unit.live, self._halt.is_set)
        finally:
            if claim.row["owner"]:
                self._member.abandon()

    def _due(self, table: Table, shard: str) -> bool:
        """Whether the coordinator knows the shard, and the one before it was read to its end."""
        row = self._shard(table, shard)
        before = self._shard(table, row["parent"]) if row and row["parent"] else None
        return row is not None and (before is None or bool(before["done"]))

    @staticmethod
    def _shard(table: Table, shard: str) -> Row | None:
        sk = f"T#{table.name}#{shard_sk(shard)}"
        return table.state.row(table.reader, table.generation, sk)

    def _current(self, meta: Row) -> bool:
        """Whether the run is still what it was before we claimed a part of it.

        The coordinator first says what comes next, then waits for every claim to be let go: so
        either it waits for ours, or we see what it said.
        """
        now = self._state.meta(self._caller()) or {}
        return all(now.get(name) == meta[name] for name in ("generation", "phase", "watch"))

    def _digest(self, unit: Unit, meta: Row) -> bool:
        table, watch = self._table(unit, meta), int(meta["watch"])
        asked = meta["verifying"]
        if not asked:
            return False
        return digest_part(
            table, watch, unit.part, int(asked["total"]), int(asked["buckets"]), self._halt.is_set
        )

    def _table(self, unit: Unit, meta: Row) -> Table:
        generation = int(meta["generation"])
        with self._lock:
            if generation not in self._tables:
                self._tables = {generation: self._run.make(meta, self._member.guard)}
            return self._tables[generation][unit.table]

    def _release(self, claim: Claim) -> None:
        try:
            claim.release()
        except (FearlessError, ClientError, BotoCoreError):
            self._member.abandon()

    def _remember(self, unit: Unit, error: FearlessError) -> None:
        kind = "gap" if isinstance(error, Gap) else type(error).__name__
        row: Row = {
            "kind": kind,
            "message": str(error.args[0]),
            "unit": unit.to_json(),
            "generation": next(iter(self._tables), 0),
        }
        sk = f"{FAILURES}{unit.kind}#{unit.table}#{unit.part}"
        with contextlib.suppress(FearlessError, ClientError, BotoCoreError):
            old = self._state.row(self._caller(), 0, sk)
            self._state.replace(self._caller(), 0, sk, row, int(old["v"]) if old else None)

    def _caller(self) -> Caller:
        return self._run.caller(lambda: None)


def _how(table: Table) -> Apply:
    if table.back:
        return apply_back
    return apply_groups if table.migrate.kind == "collection" else apply_difference


def run_key(run: str, back: bool) -> str:
    """What a run's rows are filed under: the way back has rows of its own."""
    return f"{run}#BACK" if back else run
