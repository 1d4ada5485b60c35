"""One data run: copy, barrier, replay, drain, verify, repair; its phases and who may do what."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fearless.data.calls import Caller
from fearless.data.changes import Changes
from fearless.data.context import Settings, Table
from fearless.data.copy import COUNTS, Copier, segments
from fearless.data.lease import Lease
from fearless.data.position import Gap, Missing, check_position, check_tables, describe, fix
from fearless.data.quarantine import Quarantine
from fearless.data.session import Machinery, Session, counter
from fearless.data.state import Row, StateTable
from fearless.data.tables import TableInfo, show
from fearless.data.transform import Pipeline, digest_of
from fearless.data.work import Threads
from fearless.errors import Refused
from fearless.interfaces import DataState, Report, Transform, Verdict

SEGMENT_BYTES = 64 * 1024 * 1024
WAY_OUT = "copying again starts over from a new position into the same tables"


@dataclass(frozen=True)
class Pair:
    """A table as the run calls it, and its physical names on both sides."""

    name: str
    source: str
    target: str


@dataclass(frozen=True)
class Clients:
    """Low-level clients, made without retries of their own."""

    source: Any
    streams: Any
    target: Any
    state: Any


class Migration:
    """A run over some tables. Every method may be called again at any time, after any crash."""

    def __init__(
        self,
        run: str,
        pairs: Sequence[Pair],
        transforms: Sequence[Transform],
        clients: Clients,
        state_table: str,
        report: Report,
        settings: Settings | None = None,
        machinery: Machinery | None = None,
        changes: Changes | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self._pairs = tuple(pairs)
        self._transforms = tuple(transforms)
        self._clients = clients
        self._machinery = machinery or Machinery()
        self._changes = changes or Changes(self._machinery.clock)
        self._report = report
        self._state = StateTable(clients.state, state_table, run)
        self._halt = threading.Event()
        self._run_all = self._machinery.runner or Threads(self.settings.segments)
        self._reader = self._caller(lambda: None, lambda: None)

    # ------------------------------------------------------------------ what callers use

    def state(self) -> DataState:
        """What has been done, and whether it can go on from here."""
        meta = self._state.meta(self._reader)
        if meta is None or meta["phase"] == "none":
            return DataState()
        reason = meta["reason"] if meta["phase"] == "broken" else self._unusable(meta)
        return self._summary(meta, reason)

    def copy(self) -> DataState:
        """Copy up to the barrier; a run that cannot go on starts over into the same tables."""
        with self._lease() as lease:
            self._changes.enter(lease.epoch)
            reason = lease.meta.get("reason", "") or self._unusable(lease.meta)
            if lease.meta["phase"] in ("none", "broken") or reason:
                if reason:
                    self._report.line(f"copying again: {reason}")
                self._changes.forget()
                self._begin(lease)
            if lease.meta["phase"] == "copying":
                with self._breaking(lease):
                    self._copy(lease)
            return self._summary(lease.meta, lease.meta["reason"])

    def follow(self) -> DataState:
        """Apply what changed until caught up; `broken` is returned, and said, not raised."""
        with self._replaying() as (lease, tables):
            if tables:
                with self._breaking(lease):
                    self._follow(self._session(lease, tables))
            return self._summary(lease.meta, lease.meta["reason"])

    def drain(self) -> DataState:
        """With the source fenced: apply everything, proven by sentinels. Raises when it cannot."""
        with self._replaying() as (lease, tables):
            if tables:
                with self._breaking(lease):
                    session = self._session(lease, tables)
                    self._follow(session)
                    session.drain()
            if lease.meta["phase"] == "broken":
                raise Refused(f"{lease.meta['reason']}; {WAY_OUT}")
            return replace(self._summary(lease.meta, ""), lag=0.0)

    @property
    def verified(self) -> bool:
        """Whether everything was proven equal, and what changed since is known."""
        return self._changes.known

    def verify(self, still: bool = False) -> Verdict:
        """Compare the target with T(source); changes that come meanwhile are applied first.

        With `still`, both sides stand still and everything is applied: when everything was
        proven equal before, in this process, only what changed since is compared.
        """
        with self._replaying() as (lease, tables):
            if not tables:
                raise Refused(f"{lease.meta['reason']}; {WAY_OUT}")
            with self._breaking(lease):
                session = self._session(lease, tables)
                if still and self._changes.known:
                    return session.verify_changed()
                session.catch_up()
                return session.verify()
            raise Refused(f"{lease.meta['reason']}; {WAY_OUT}")

    def repair(self) -> Verdict:
        """Make every item that differs, and every quarantined one, T(source) again; verify."""
        with self._replaying() as (lease, tables):
            if tables:
                with self._breaking(lease):
                    session = self._session(lease, tables)
                    session.catch_up()
                    session.repair()
        return self.verify()

    def quarantine(self) -> list[Row]:
        """The items that could not be migrated, with the reason; never their values."""
        meta = self._state.meta(self._reader)
        if meta is None or not meta["generation"]:
            return []
        rows = self._state.rows(self._reader, int(meta["generation"]), "T#")
        return [row for row in rows if "#Q#" in row["sk"] and row["open"]]

    # ------------------------------------------------------------------ phases

    def _unusable(self, meta: Row) -> str:
        """Why the copy that META describes is worth nothing now; empty when it is good."""
        if meta["phase"] not in ("copying", "replay"):
            return ""
        if set(meta["tables"]) != {pair.name for pair in self._pairs}:
            return "the run's tables are not the ones it was begun with"
        if meta["digests"] != self._digests():
            return "the transforms are not the ones it was begun with"
        try:
            for pair in self._pairs:
                check_position(pair.name, meta["tables"][pair.name], *self._infos(pair))
        except (Gap, Missing) as error:
            return str(error.args[0])
        return ""

    def _begin(self, lease: Lease) -> None:
        generation = int(lease.meta["generation"]) + 1
        infos = {pair.name: self._infos(pair) for pair in self._pairs}
        for name, (source, target) in infos.items():
            check_tables(name, source, target)
            if generation == 1:
                self._check_empty(target)
        size = max((source.size for source, _ in infos.values()), default=0)
        tables = {
            name: fix(self._reader, self._clients.streams, *pair) for name, pair in infos.items()
        }
        lease.update(
            {
                "phase": "copying",
                "reason": "",
                "generation": generation,
                "tables": tables,
                "digests": self._digests(),
                "segments": max(self.settings.segments, -(-size // SEGMENT_BYTES)),
                "repair": generation > 1,
                "caught_up": 0,
                "sentinels": {},
            }
        )

    def _copy(self, lease: Lease) -> None:
        tables = self._tables(lease)
        work: list[list[Callable[[], None]]] = []
        for table in tables:
            rows = segments(table, int(lease.meta["segments"]))
            done = sum(int(row["read"]) for row in rows)
            copier = Copier(table, counter(self._report, "copy", table, done))
            work.append([partial(copier.segment, row) for row in rows if row["status"] != "done"])
        most = max((len(tasks) for tasks in work), default=0)
        mixed = [tasks[n] for n in range(most) for tasks in work if n < len(tasks)]
        self._run_all(mixed, self._halt)
        lease.wait_quiet("a write of the copy was not answered")
        for pair in self._pairs:
            check_position(pair.name, lease.meta["tables"][pair.name], *self._infos(pair))
        lease.update({"phase": "replay"})

    # ------------------------------------------------------------------ parts

    @contextmanager
    def _replaying(self) -> Iterator[tuple[Lease, list[Table]]]:
        """The lease and the tables; no tables when the run is broken."""
        with self._lease() as lease:
            self._changes.enter(lease.epoch)
            phase = lease.meta["phase"]
            if phase in ("none", "copying"):
                raise Refused("the data has not been copied to the end: copy first")
            reason = lease.meta["reason"] or self._unusable(lease.meta)
            if reason:
                if phase != "broken":
                    self._break(lease, reason)
                yield lease, []
            else:
                yield lease, self._tables(lease)

    @contextmanager
    def _breaking(self, lease: Lease) -> Iterator[None]:
        try:
            yield
        except Gap as gap:
            self._break(lease, str(gap.args[0]))

    def _break(self, lease: Lease, reason: str) -> None:
        lease.update({"phase": "broken", "reason": reason})
        self._report.line(f"broken: {reason}; {WAY_OUT}")

    def _lease(self) -> Lease:
        kit = self._machinery
        return Lease(
            self._state,
            self._report,
            self.settings.zombie,
            duration=self.settings.lease,
            clock=kit.clock,
            sleep=kit.sleep,
            owner=kit.owner(),
            heartbeat=kit.heartbeat,
        )

    def _tables(self, lease: Lease) -> list[Table]:
        generation = int(lease.meta["generation"])

        def settled() -> None:
            lease.unknown()
            lease.wait_quiet("a write was not answered")

        keeper = self._caller(lease.guard, lambda: None)
        tables = []
        for pair in self._pairs:
            source, target = self._infos(pair)
            tables.append(
                Table(
                    name=pair.name,
                    source=source,
                    target=target,
                    migrate=Pipeline(pair.name, target, self._transforms),
                    position=lease.meta["tables"][pair.name],
                    generation=generation,
                    source_client=self._clients.source,
                    target_client=self._clients.target,
                    streams=self._clients.streams,
                    state=self._state,
                    lease=lease,
                    quarantine=Quarantine(self._state, keeper, generation, lease.epoch, pair.name),
                    halt=self._halt,
                    settings=self.settings,
                    report=self._report,
                    reader=self._reader,
                    keeper=keeper,
                    copying=self._caller(lease.guard, lease.unknown, lease.unknown),
                    applying=self._caller(lease.guard, settled, lease.unknown),
                    changes=self._changes,
                )
            )
        return tables

    def _session(self, lease: Lease, tables: Sequence[Table]) -> Session:
        kit = self._machinery
        return Session(lease, tables, kit, self._run_all, self._halt, self._report, self._changes)

    @staticmethod
    def _follow(session: Session) -> None:
        session.catch_up()
        if session.lease.meta["repair"]:
            session.repair()

    def _infos(self, pair: Pair) -> tuple[TableInfo, TableInfo]:
        return (
            describe(self._reader, self._clients.source, pair.source),
            describe(self._reader, self._clients.target, pair.target),
        )

    def _check_empty(self, target: TableInfo) -> None:
        request: dict[str, Any] = {"TableName": target.table, "ConsistentRead": True, "Limit": 100}
        page = self._reader.read(self._clients.target.scan, **request)
        strange = [item for item in page["Items"] if not target.test(item)]
        if strange:
            raise Refused(
                f"{target.table} is not empty and was not filled by this run (it holds "
                f"{show(target.key(strange[0]))}): a copy goes into a new stack's empty tables"
            )

    def _digests(self) -> dict[str, str]:
        return {pair.name: digest_of(pair.name, self._transforms) for pair in self._pairs}

    def _caller(
        self,
        guard: Callable[[], None],
        unknown: Callable[[], None],
        interrupted: Callable[[], None] = lambda: None,
    ) -> Caller:
        kit = self._machinery
        return Caller(guard, unknown, kit.clock, kit.sleep, interrupted, rng=self._rng())

    def _rng(self) -> random.Random:
        return self._machinery.rng or random.Random()

    def _summary(self, meta: Row, reason: str) -> DataState:
        rows = self._state.rows(self._reader, int(meta["generation"]), "T#")
        parts = [row for row in rows if "#SEG#" in row["sk"]]
        sums = {name: sum(int(row[name]) for row in parts) for name in COUNTS}
        return DataState(
            phase="broken" if reason else meta["phase"],
            read=sums["read"],
            written=sums["written"],
            dropped=sums["dropped"],
            quarantined=sum(1 for row in rows if "#Q#" in row["sk"] and row["open"]),
            changed=sums["changed"],
            applied=sum(int(row["applied"]) for row in rows if "#SHARD#" in row["sk"]),
            lag=max(0.0, self._machinery.wall() - meta["caught_up"]) if meta["caught_up"] else None,
            reason=f"{reason}; {WAY_OUT}" if reason else "",
        )
