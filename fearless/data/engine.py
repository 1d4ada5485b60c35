"""One data run: copy, barrier, replay, drain, verify, repair, turn; its phases, who may do what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from fearless.data.beginning import start
from fearless.data.comparing import known, verify, verify_still
from fearless.data.context import Table
from fearless.data.copying import copy
from fearless.data.crew import Inline
from fearless.data.draining import drain, new_marks
from fearless.data.ending import end_generation
from fearless.data.following import catch_up, follow_until
from fearless.data.job import Clients, Endpoint, Engine, Job, Pair
from fearless.data.lease import Lease
from fearless.data.machinery import Machinery
from fearless.data.membership import Membership
from fearless.data.position import Gap, Missing, check_position
from fearless.data.repairing import repair
from fearless.data.session import Session
from fearless.data.settings import Settings
from fearless.data.signals import Signals
from fearless.data.state import Row, StateTable
from fearless.data.stragglers import Stragglers
from fearless.data.summary import COPY_AGAIN, NO_WAY_BACK, in_quarantine, new_meta, summary
from fearless.data.tablekit import Tables, same_code
from fearless.data.turn import turn
from fearless.data.unit import Crew
from fearless.data.work import Threads
from fearless.data.worker import FAILURES, Worker, run_key
from fearless.errors import FearlessError, Refused
from fearless.interfaces import DataState, Late, Report, Transform, Verdict

__all__ = ["Clients", "Machinery", "Migration", "Pair"]

MAX_AGE = 3600.0
"""Seconds for which a comparison counts (the design's guard for a cutover)."""


def _nothing() -> None:
    """What this process does itself raises its own errors."""


class Migration:
    """A run over some tables. Every method may be called again at any time, after any crash.

    `engine` says where the work is done, with `job` telling its workers how: without them, in
    this process. `back`: the way back, from the new tables (`source` of the pairs) to the old.
    `reopen` is asked before a run goes on that had turned, and refuses when the target is live.
    """

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
        *,
        back: bool = False,
        engine: Engine | None = None,
        job: Job | None = None,
        reopen: Callable[[], None] = _nothing,
    ) -> None:
        self.settings = settings or Settings()
        self._run = run
        self._pairs = tuple(pairs)
        self._transforms = tuple(transforms)
        self._clients = clients
        self._state_table = state_table
        self._report = report
        self._kit = machinery or Machinery()
        self._back = back
        self._reopen = reopen
        self._engine = engine
        nowhere = Endpoint("", "")
        self._job = job or Job(
            run, state_table, self._pairs, self.settings, nowhere, nowhere, nowhere, "", {}, back
        )
        self._state = StateTable(clients.state, state_table, run_key(run, back))
        self._tables = Tables(
            pairs, transforms, clients, self._state, self.settings, self._kit, back
        )
        self._reader = self._tables.caller(lambda: None)
        self._halt = threading.Event()
        self._way_out = NO_WAY_BACK if back else COPY_AGAIN

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
        if self._back:
            raise Refused("the way back is never copied: it begins where the cutover turned")
        with self._lease() as lease:
            reason = lease.meta.get("reason", "") or self._unusable(lease.meta)
            if lease.meta["phase"] in ("none", "broken") or reason:
                if reason:
                    self._report.line(f"copying again: {reason}")
                self._begin(lease)
            if lease.meta["phase"] == "copying":
                with self._breaking(lease):
                    copy(self._session(lease), int(lease.meta["segments"]))
                    self._check_positions(lease)
                    lease.update({"phase": "replay"})
            return self._summary(lease.meta)

    def follow(self, until: Callable[[], bool] | None = None) -> DataState:
        """Apply what changed until caught up; `broken` is returned, and said, not raised.

        With `until` it goes on applying changes as they come, until that says so.
        """
        with self._replaying() as (lease, session):
            if session is not None:
                with self._breaking(lease):
                    self._follow(session)
                    if until is not None:
                        follow_until(session, until, lambda: self._check_positions(lease))
            return self._summary(lease.meta)

    def drain(self) -> DataState:
        """With the source fenced: apply everything, proven by sentinels. Raises when it cannot."""
        signals = Signals(self._state, self._kit)
        signals.look()
        if signals.paused:
            raise Refused("the run is paused, so it cannot be drained: resume it first")
        with self._replaying(inline=True) as (lease, session):
            if session is not None:
                with self._breaking(lease):
                    self._follow(session)
                    drain(session, self.settings.drain)
            if lease.meta["phase"] == "broken":
                raise Refused(f"{lease.meta['reason']}; {self._way_out}")
            return replace(self._summary(lease.meta), lag=0.0)

    @property
    def verified(self) -> bool:
        """Whether everything was proven equal lately, and what changed since is known."""
        meta = self._state.meta(self._reader)
        if meta is None or meta["phase"] != "replay":
            return False
        verified = meta.get("verified") or {}
        fresh = bool(verified) and self._kit.wall() - int(verified["at"]) < MAX_AGE
        return fresh and (self._back or verified["watch"] == meta["watch"])

    def verify(self, still: bool = False) -> Verdict:
        """Compare the target with T(source); changes that come meanwhile are applied first.

        With `still`, both sides stand still and everything is applied: when everything was
        proven equal before, only what changed since is compared.
        """
        with self._replaying(inline=still) as (lease, session):
            if session is None:
                raise Refused(f"{lease.meta['reason']}; {self._way_out}")
            with self._breaking(lease):
                if still and known(session, MAX_AGE):
                    return verify_still(session)
                catch_up(session)
                result, one_way = verify(session)
                lease.update({"irreversible": one_way})
                return result
            raise Refused(f"{lease.meta['reason']}; {self._way_out}")

    def repair(self) -> Verdict:
        """Make every item that differs, and every quarantined one, T(source) again; verify."""
        with self._replaying() as (lease, session):
            if session is not None:
                with self._breaking(lease):
                    catch_up(session)
                    repair(session)
        return self.verify()

    def quarantine(self) -> list[Row]:
        """The items that could not be migrated, with the reason; never their values."""
        meta = self._state.meta(self._reader)
        if meta is None or not meta["generation"]:
            return []
        rows = self._state.rows(self._reader, int(meta["generation"]), "T#")
        return [row for row in rows if in_quarantine(row)]

    def retry(self, wanted: Callable[[Row], bool] = bool) -> list[Row]:
        """Try to migrate quarantined items again; those that are left."""
        with self._replaying() as (_, session):
            if session is not None:
                session.retry(wanted)
        return self.quarantine()

    def waive(self, table: str, key: Row, reason: str) -> bool:
        """Accept that the target goes without one item; False when it is not in quarantine."""
        with self._replaying() as (_, session):
            if session is None or table not in session.tables:
                return False
            found = session.tables[table]
            return found.quarantine.waive(found.source.key_id(key), reason)

    def turn(self) -> None:
        """Fix where the way back begins. Both sides must stand still, all changes applied."""
        if self._back:
            raise Refused("a way back has no way back of its own")
        with self._replaying(inline=True) as (lease, session):
            if session is None:
                raise Refused(f"{lease.meta['reason']}; {self._way_out}")
            token = new_marks(session)
            positions = {
                name: turn(table, self.settings.drain, token)
                for name, table in session.tables.items()
            }
            lease.update({"marks": ""})
            self._open_back(positions)
            lease.update({"phase": "turned", "verified": {}})
            session.idle()

    def forget_turn(self, why: str) -> None:
        """There is no way back after all: what a `turn` fixed before must not be used."""
        state = StateTable(self._clients.state, self._state_table, run_key(self._run, True))
        meta = state.meta(self._reader)
        if meta is not None and meta["phase"] != "none":
            with self._lease(state) as lease:
                lease.update({"phase": "none", "reason": why})
                self._end_generation(lease, state)

    def late(self, seconds: float = 0.0) -> Late:
        """What reached the side that was left, after the cutover; looked for so long.

        It is brought over only when nothing leads back: what the way back writes looks the same.
        """
        meta = self._state.meta(self._reader)
        if self._back or meta is None or meta["phase"] not in ("turned", "replay"):
            raise Refused("nothing has gone over, so nothing can be late")
        tables = self._tables.make(meta, lambda: None)
        back = self._way_back()
        watch = Stragglers(list(tables.values()), self._report, write=not back, back=back)
        seen = watch.watch(seconds)
        return Late(seen.applied + seen.conflicts, seen.applied, watch.conflicts())

    def _way_back(self) -> dict[str, Table]:
        """The tables of the way back; none where nothing leads back."""
        state = StateTable(self._clients.state, self._state_table, run_key(self._run, True))
        meta = state.meta(self._reader)
        if meta is None or meta["phase"] == "none":
            return {}
        there = self._clients
        clients = replace(
            there, source=there.target, streams=there.target_streams, target=there.source
        )
        pairs = [Pair(pair.name, pair.target, pair.source) for pair in self._pairs]
        kit = Tables(pairs, self._transforms, clients, state, self.settings, self._kit, back=True)
        return kit.make(meta, lambda: None)

    def pause(self, why: str = "") -> None:
        """Let every worker of the run wait before its next write; it may be at work meanwhile."""
        Signals(self._state, self._kit).pause(why)

    def resume(self) -> None:
        """Let them go on."""
        Signals(self._state, self._kit).resume()

    # ------------------------------------------------------------------ phases

    def _unusable(self, meta: Row) -> str:
        """Why the copy that META describes is worth nothing now; empty when it is good."""
        if meta["phase"] not in ("copying", "replay", "turned"):
            return ""
        if set(meta["tables"]) != {pair.name for pair in self._pairs}:
            return "the run's tables are not the ones it was begun with"
        if not same_code(meta, self._tables.digests()):
            return "the transforms are not the ones it was begun with"
        try:
            for pair in self._pairs:
                check_position(pair.name, meta["tables"][pair.name], *self._tables.infos(pair))
        except (Gap, Missing) as error:
            return str(error.args[0])
        return ""

    def _check_positions(self, lease: Lease) -> None:
        for pair in self._pairs:
            check_position(pair.name, lease.meta["tables"][pair.name], *self._tables.infos(pair))

    def _begin(self, lease: Lease) -> None:
        start(
            lease,
            self._tables,
            self._reader,
            self._job,
            end=lambda: self._end_generation(lease, self._state),
        )

    def _end_generation(self, lease: Lease, state: StateTable) -> None:
        watcher, kit = self._watcher(state), self._kit
        end_generation(lease, state, self._reader, watcher, self.settings, kit, self._report)

    def _open_back(self, positions: dict[str, Row]) -> None:
        """Begin the run of the way back, or begin it anew after a cutover that was undone."""
        state = StateTable(self._clients.state, self._state_table, run_key(self._run, True))
        with self._lease(state) as lease:
            generation = int(lease.meta["generation"]) + 1
            digests = self._tables.digests()
            lease.update({**new_meta("replay", generation, positions, digests), "watch": 1})

    def _follow(self, session: Session) -> None:
        session.settle_suspects()
        catch_up(session)
        if session.lease.meta["repair"]:
            repair(session)

    # ------------------------------------------------------------------ parts

    @contextmanager
    def _replaying(self, inline: bool = False) -> Iterator[tuple[Lease, Session | None]]:
        """The lease and the tables; no tables when the run is broken."""
        with self._lease() as lease:
            phase = lease.meta["phase"]
            if phase == "none" and self._back:
                raise Refused("there is no way back: the cutover did not fix where it begins")
            if phase in ("none", "copying"):
                raise Refused("the data has not been copied to the end: copy first")
            if phase == "turned":
                self._reopen()
                self.forget_turn("the cutover was undone")
                lease.update({"phase": "replay"})
            reason = lease.meta["reason"] or self._unusable(lease.meta)
            if reason:
                if phase != "broken":
                    self._break(lease, reason)
                yield lease, None
            else:
                session = self._session(lease, inline)
                session.load()
                yield lease, session

    @contextmanager
    def _breaking(self, lease: Lease) -> Iterator[None]:
        try:
            yield
        except Gap as gap:
            self._break(lease, str(gap.args[0]))

    def _break(self, lease: Lease, reason: str) -> None:
        lease.update({"phase": "broken", "reason": reason})
        self._report.line(f"broken: {reason}; {self._way_out}")

    def _lease(self, state: StateTable | None = None) -> Lease:
        kit = self._kit
        return Lease(
            state or self._state,
            self._report,
            duration=self.settings.lease,
            clock=kit.clock,
            sleep=kit.sleep,
            owner=kit.owner(),
            heartbeat=kit.heartbeat,
        )

    def _session(self, lease: Lease, inline: bool = False) -> Session:
        return Session(
            lease,
            self._tables.make(lease.meta, lease.guard),
            self._kit,
            lambda: self._hire(inline),
            self._failures if self._engine is not None and not inline else _nothing,
            self._kit.runner or Threads(self.settings.threads),
            self._watcher(self._state),
            self._report,
        )

    def _hire(self, inline: bool) -> Crew:
        if self._engine is not None and not inline:
            self._failures(forget=True)
            return self._engine.crew(self._job, self._report)
        worker = Worker(self._job, self._transforms, self._clients, self._kit)
        return Inline(worker, self.settings.threads, self._kit.runner)

    def _failures(self, forget: bool = False) -> None:
        """Raise what a worker in another process failed with."""
        for row in self._state.rows(self._reader, 0, FAILURES):
            self._state.delete(self._reader, 0, row["sk"])
            meta = self._state.meta(self._reader) or {"generation": 0}
            if not forget and int(row.get("generation", 0)) in (0, int(meta["generation"])):
                raise (Gap if row["kind"] == "gap" else FearlessError)(row["message"])

    def _summary(self, meta: Row, reason: str | None = None) -> DataState:
        rows = self._state.rows(self._reader, int(meta["generation"]), "T#")
        if reason is None:
            reason = meta["reason"]
        told = f"{reason}; {self._way_out}" if reason else ""
        return summary(meta, rows, told, self._kit.wall())

    def _watcher(self, state: StateTable) -> Membership:
        """Looks at other workers; takes no part itself."""
        kit = self._kit
        return Membership(
            state,
            self.settings.lease,
            clock=kit.clock,
            wall=kit.wall,
            sleep=kit.sleep,
            owner=kit.owner(),
        )
