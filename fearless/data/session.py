"""What a run's coordinator does with its copied tables: follow, drain, compare, repair."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from fearless.data.backward import retry_back
from fearless.data.claim import settled_at
from fearless.data.context import Table
from fearless.data.copy import segment_sk
from fearless.data.digest import part_sk, size
from fearless.data.gather import retry_groups, whole_group
from fearless.data.heartbeat import Heartbeat
from fearless.data.identity import unit_id
from fearless.data.lease import Lease
from fearless.data.lineage import Lineage
from fearless.data.machinery import Machinery
from fearless.data.membership import ROUNDING, Membership, quiet_at, workers
from fearless.data.reconcile import reconcile
from fearless.data.sentinels import delete_sentinels, write_sentinels
from fearless.data.state import Row
from fearless.data.touched import DIRTY, SUSPECTS, Listed, Touched, drop, keep, listed, merged
from fearless.data.turn import MARKS
from fearless.data.unit import Crew, Unit
from fearless.data.verify import Found, Mismatch, compare, differing, settle, verdict
from fearless.data.work import Runner
from fearless.data.writer import Op
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Report, Verdict

Hire = Callable[[], Crew]
SLICE = 100
"""Units compared at once."""
TOLD = 10.0
"""Seconds between two times that a run says how far it has come while it follows for ever."""


class Session:
    """The tables of a run while its lease is held. Workers do what is much, this the rest."""

    def __init__(
        self,
        lease: Lease,
        tables: Mapping[str, Table],
        machinery: Machinery,
        hire: Hire,
        check: Callable[[], None],
        runner: Runner,
        watcher: Membership,
        report: Report,
    ) -> None:
        self.lease = lease
        self.tables = tables
        self._kit = machinery
        self._hire = hire
        self._check = check
        self._runner = runner
        self._watcher = watcher
        self._report = report
        self._halt = threading.Event()
        self.lineages = {name: Lineage(table) for name, table in tables.items()}

    # ------------------------------------------------------------------ units

    def work(self, crew: Crew, left: Callable[[], Sequence[Unit]]) -> None:
        """Offer what is left until nothing is."""
        before: Sequence[Unit] = ()
        pause = poll = self._any.settings.poll
        while units := left():
            self.lease.guard()
            crew.offer(units)
            self._check()
            pause = min(1.5 * pause, 4 * poll) if units == before else poll / 10
            if not getattr(crew, "busy", False):
                self._kit.sleep(pause)
            before = units

    @property
    def _any(self) -> Table:
        return next(iter(self.tables.values()))

    # ------------------------------------------------------------------ copying

    def copy(self, total: int) -> None:
        """Copy every segment of every table; returns behind the barrier, when nothing can land."""
        order = reversed_bits(total)

        def left() -> list[Unit]:
            units = {name: self._segments(table, order) for name, table in self.tables.items()}
            most = max((len(part) for part in units.values()), default=0)
            return [part[n] for n in range(most) for part in units.values() if n < len(part)]

        with self._hire() as crew:
            self.work(crew, left)
        self._barrier()

    def _segments(self, table: Table, order: Sequence[int]) -> list[Unit]:
        rows = {int(row["segment"]): row for row in table.rows("SEG#")}
        done = sum(int(row["read"]) for row in rows.values())
        moved = sum(int(row["bytes"]) for row in rows.values())
        note = f"{moved / 1e6:.1f} MB" if moved else ""
        if kept := len(table.quarantine):
            note = f"{note}, {kept} in quarantine".lstrip(", ")
        self._report.progress(f"copy {table.name}", done, table.source.count or None, note)
        return [
            Unit("copy", table.name, str(n)) for n in order if n not in rows or not rows[n]["done"]
        ]

    def _barrier(self) -> None:
        """Wait until no write of the copy can land any more; count that nothing got lost."""
        until = quiet_at(workers(self._any.state, self._any.reader), self._any.settings.zombie)
        for table in self.tables.values():
            rows = table.rows("SEG#")
            until = max(until, settled_at(rows, table.settings.zombie))
            for row in rows:
                if int(row["read"]) != sum(int(row[n]) for n in ("kept", "dropped", "quarantined")):
                    raise FearlessError(
                        f"table {table.name}: segment {row['segment']} read {row['read']} items, "
                        f"but accounts for another number ({segment_sk(int(row['segment']))}); "
                        "this is a fault of Fearless: copy again and report it"
                    )
        self.wait_until(until, "a worker fell silent, or a write of the copy was not answered")

    def wait_until(self, moment: float, why: str) -> None:
        """Return when the server's clock is past a moment."""
        first, said = moment - self._kit.wall(), False
        while (left := moment - self._kit.wall()) > 0:
            if first >= 5 and not said:
                self._report.line(f"{why}: waiting {left:.0f} s until its last request is dead")
                said = True
            self._report.progress("waiting", int(first - left), int(first), why)
            self._kit.sleep(min(left, 1.0))
            self.lease.guard()

    # ------------------------------------------------------------------ following

    def load(self) -> None:
        """See how far each shard has come."""
        for lineage in self.lineages.values():
            lineage.load()

    def catch_up(self, crew: Crew | None = None) -> None:
        """Apply every change made before now, or nearly now. Raises Gap."""
        since = self._kit.wall()
        if crew is None:
            with self._hire() as crew:
                self._apply(crew, since)
        else:
            self._apply(crew, since)
        self._settle_collisions()
        self.lease.update({"caught_up": int(since)})

    def _apply(self, crew: Crew, since: float) -> None:
        began = {name: _applied(lineage) for name, lineage in self.lineages.items()}
        for lineage in self.lineages.values():
            lineage.refresh(force=True)

        def left() -> list[Unit]:
            units = []
            for name, lineage in self.lineages.items():
                lineage.load()
                lineage.refresh()
                if lineage.caught_up(since):
                    continue
                note = f"lag {lineage.lag(self._kit.wall()):.1f} s"
                self._report.progress(f"sync {name}", _applied(lineage) - began[name], None, note)
                units += [Unit("follow", name, shard) for shard in lineage.behind(since)]
                if not lineage.behind(since):
                    lineage.refresh(force=True)
            return units

        waiting = True
        while waiting:
            self.work(crew, left)
            waiting = not all(lineage.caught_up(since) for lineage in self.lineages.values())
            if waiting:
                self.lease.guard()
                self._kit.sleep(self._any.settings.poll)

    def follow_for(self, seconds: float, crew: Crew, hearts: Mapping[str, Heartbeat]) -> None:
        """Keep applying changes as they come, for about so long. Raises Gap."""
        units = []
        for name, lineage in self.lineages.items():
            lineage.load()
            lineage.refresh()
            hearts[name].beat()
            hearts[name].hear(lineage.shards)
            note = f"lag {lineage.lag(self._kit.wall()):.1f} s"
            if (trip := hearts[name].round_trip) is not None:
                note += f", heartbeat {trip:.1f} s"
            self._report.progress(f"sync {name}", _applied(lineage), None, note)
            units += [
                Unit("follow", name, shard, seconds, live=True) for shard in lineage.runnable()
            ]
        self.lease.guard()
        crew.offer(units)
        self._check()
        now = self._kit.wall()
        if now - int(self.lease.meta["caught_up"]) > TOLD:
            self.lease.update({"caught_up": int(now - self.lag())})

    def lag(self) -> float:
        """Seconds that the table which is furthest behind is behind."""
        now = self._kit.wall()
        return max((lineage.lag(now) for lineage in self.lineages.values()), default=0.0)

    # ------------------------------------------------------------------ suspects

    def suspects(self) -> tuple[int, float]:
        """Keys that a request may still reach that was sent long ago, and until when."""
        lists = [entry for table in self.tables.values() for entry in listed(table, SUSPECTS)]
        return sum(len(e.touched) for e in lists), float(max((e.due for e in lists), default=0))

    def settle_suspects(self) -> None:
        """Make right every suspect key that nothing can reach any more."""
        now = self._kit.wall()
        for table in self.tables.values():
            due = [entry for entry in listed(table, SUSPECTS) if entry.due <= now]
            if due:
                self._note(table, reconcile(table, merged(table, due)))
                drop(table, [entry.sk for entry in due])

    def _settle_collisions(self) -> None:
        """Look again at items that were refused a key for another's sake: that may have passed."""
        for table in self.tables.values():
            if table.migrate.kind == "transferable" and not table.back:
                table.quarantine.reload()
                self._again(table, [row for row in table.quarantine.rows() if refused(row)])

    def _note(self, table: Table, touched: Sequence[Touched]) -> None:
        """Let the next comparison under a fence look at these keys, too."""
        if watch := int(self.lease.meta["watch"]):
            keep(table, table.reader, f"{DIRTY}{watch:06d}#", touched)

    # ------------------------------------------------------------------ repairing

    def repair(self) -> None:
        """Make every unit that differs, and every quarantined one, what it should be."""
        self.forget()
        self.settle_suspects()
        for table in self.tables.values():
            table.quarantine.reload()
            self._again(table, table.quarantine.rows())
        if not self._any.back:
            found = self._digests()
            for name, part in found.items():
                table = self.tables[name]
                reconcile(table, list(part.candidates.values()))
                strays = [Op(table.target.key_id(k), k, None, b"") for k in part.strays]
                table.writer(table.reader).write(strays)
            self.forget()
        self.catch_up()
        self.lease.update({"repair": False})

    def retry(self, wanted: Callable[[Row], bool]) -> None:
        """Try to migrate quarantined items again."""
        for table in self.tables.values():
            table.quarantine.reload()
            rows = [row for row in table.quarantine.rows() if wanted(row)]
            self._again(table, rows)

    def _again(self, table: Table, rows: Sequence[Row]) -> None:
        """Migrate quarantined items as they are now."""
        if table.back:
            touched = retry_back(table, rows)
        elif table.migrate.kind == "collection":
            touched = list(retry_groups(table, [row["key"] for row in rows]))
        else:
            touched = reconcile(table, [Touched(row["key"], []) for row in rows])
        self._note(table, touched)

    # ------------------------------------------------------------------ draining

    def drain(self, seconds: float) -> None:
        """Prove by sentinels that every change made before now is applied."""
        left: Row = self.lease.meta["sentinels"]
        if left:
            for table in self.tables.values():
                delete_sentinels(table, left["token"], int(left["limit"]))
        token = uuid.UUID(int=self._kit.random().getrandbits(128)).hex
        most = max(len(lineage.shards) for lineage in self.lineages.values())
        limit = max(64, 20 * most)
        self.lease.update({"sentinels": {"token": token, "limit": limit}})
        deadline = self._kit.clock() + seconds
        with self._hire() as crew:
            written = self._sentinels(crew, token, limit, seconds)
        for name, table in self.tables.items():
            delete_sentinels(table, token, written[name])
        self._settle_collisions()
        self.lease.update({"sentinels": {}, "caught_up": int(self._kit.wall())})
        self._clear(deadline)

    def new_marks(self) -> str:
        """The token of marks to be written into the targets; those that a kill left go first."""
        if left := str(self.lease.meta["marks"]):
            for table in self.tables.values():
                delete_sentinels(table, left, MARKS, table.target)
        token = uuid.UUID(int=self._kit.random().getrandbits(128)).hex
        self.lease.update({"marks": token})
        return token

    def _clear(self, deadline: float) -> None:
        """Leave no suspect key behind, by waiting if need be."""
        while True:
            self.settle_suspects()
            count, until = self.suspects()
            if not count:
                return
            wait = until - self._kit.wall()
            if self._kit.clock() + wait > deadline:
                raise Refused(
                    f"{count} keys may still be reached by a request of a worker that fell silent, "
                    f"for {wait:.0f} s; nothing was switched: sync again after that"
                )
            self.wait_until(until, "the last request of a worker that fell silent")

    def _sentinels(self, crew: Crew, token: str, limit: int, seconds: float) -> dict[str, int]:
        deadline = self._kit.clock() + seconds
        written = dict.fromkeys(self.tables, 0)
        for lineage in self.lineages.values():
            lineage.refresh(force=True)
        while open_ := [n for n, lineage in self.lineages.items() if not lineage.delivered(token)]:
            if self._kit.clock() > deadline:
                raise FearlessError(
                    f"table {open_[0]}: not every shard of {self.tables[open_[0]].source.table} "
                    f"delivered a mark within {seconds:.0f} s; nothing was switched: try again"
                )
            units = []
            for name in open_:
                lineage = self.lineages[name]
                more = min(limit - written[name], max(2, 2 * len(lineage.runnable())))
                write_sentinels(self.tables[name], token, written[name], more)
                written[name] += more
                units += [Unit("follow", name, shard) for shard in lineage.runnable()]
            since = self._kit.wall()
            self.lease.guard()
            crew.offer(units)
            self._check()
            for name in open_:
                self.lineages[name].refresh(force=True)
            if self._kit.wall() - since < 0.02:
                self._kit.sleep(self._any.settings.poll)
        return written

    # ------------------------------------------------------------------ comparing

    def verify(self) -> tuple[Verdict, int]:
        """Compare every table, and look again at what differs until it is settled.

        Also counts the items that the way back does not lead back to what they were.
        """
        if self._any.back:
            return self._verify_touched(online=True), 0
        found = self._digests()
        mismatches: list[Mismatch] = []
        with self._hire() as crew:
            for name, part in found.items():
                table = self.tables[name]
                mismatches += self._settled(table, part.candidates.values(), crew)
                mismatches += [Mismatch(name, "extra", key, None) for key in part.strays]
        mismatches = self._unwaived(mismatches, found)
        result = verdict(list(found.values()), mismatches)
        if result.clean:
            self.lease.update({"verified": {"watch": self._watch, "at": int(self._kit.wall())}})
        return result, sum(part.one_way for part in found.values())

    def verify_still(self) -> Verdict:
        """With both sides still: compare what changed since everything was proven equal."""
        return self._verify_touched(online=False)

    def known(self, most: float) -> bool:
        """Whether only what is on the list of touched keys can differ, for `most` seconds."""
        verified = self.lease.meta.get("verified") or {}
        if self._any.back:
            return True
        return (
            bool(verified)
            and verified["watch"] == self._watch
            and self._kit.wall() - int(verified["at"]) < most
        )

    def forget(self) -> None:
        """Nothing is proven any more."""
        self.lease.update({"verified": {}})

    @property
    def _watch(self) -> int:
        return int(self.lease.meta["watch"])

    def _verify_touched(self, online: bool) -> Verdict:
        """Compare every touched key: of those that still may change (`online`), look again.

        Online, what was found right is taken off the list, so that a fence need not look at it.
        """
        before = self._watch
        if online:
            self.lease.update({"watch": before + 1, "verified": {}})
            self.idle()
        found: dict[str, Found] = {}
        mismatches: list[Mismatch] = []
        for name, table in self.tables.items():
            lists = self._dirty(table, before)
            touched = merged(table, lists)
            found[name] = Found(compared=len(touched))
            wrong = self._wrong(table, touched)
            if online:
                with self._hire() as crew:
                    real = self._settled(table, [entry for entry, _ in wrong], crew)
                if not real:
                    drop(table, [entry.sk for entry in lists])
            else:
                real = [mismatch for _, part in wrong for mismatch in part]
            mismatches += real
        result = verdict(list(found.values()), self._unwaived(mismatches, found))
        if online and result.clean:
            self.lease.update({"verified": {"watch": self._watch, "at": int(self._kit.wall())}})
        return result

    def _dirty(self, table: Table, watch: int) -> list[Listed]:
        """The touched keys that nothing has proven since: on the way back those of all lists."""
        if not self._any.back:
            return listed(table, f"{DIRTY}{watch:06d}#")
        last = f"T#{table.name}#{DIRTY}{watch:06d}#~"
        return [entry for entry in listed(table, DIRTY) if entry.sk <= last]

    def _wrong(
        self, table: Table, touched: Sequence[Touched]
    ) -> list[tuple[Touched, list[Mismatch]]]:
        found = []
        for start in range(0, len(touched), SLICE):
            part = {unit_id(table, entry.source): entry for entry in touched[start : start + SLICE]}
            for key_id, (_, wrong) in differing(table, part.values()).items():
                if wrong:
                    found.append((part[key_id], wrong))
            self.lease.guard()
        return found

    def _settled(self, table: Table, wanted: Iterable[Touched], crew: Crew) -> list[Mismatch]:
        """Looks lie so far apart that what catching up may have missed is applied in between."""
        waits, settings = iter([table.settings.poll]), table.settings
        apart = max(settings.poll, (settings.near + ROUNDING) / max(1, settings.rounds - 1))

        def again() -> None:
            self._kit.sleep(next(waits, apart))
            self.catch_up(crew)

        return settle(table, wanted, again, settings.rounds)

    def _unwaived(
        self, mismatches: Sequence[Mismatch], found: Mapping[str, Found]
    ) -> list[Mismatch]:
        """With every quarantined item among the mismatches, but for those that were waived."""
        result: list[Mismatch] = []
        waived: set[tuple[str, bytes]] = set()
        shown: set[tuple[str, bytes]] = set()
        for name, table in self.tables.items():
            table.quarantine.reload()
            for row in table.quarantine.rows():
                place = (name, table.source.key_id(row["key"]))
                if row["waived"]:
                    waived.add(place)
                    found[name].ignored["waived"] += 1
                else:
                    shown.add(place)
                    why = f"quarantined, {row['transform']}: {row['error']}"
                    result.append(Mismatch(name, "quarantined", row["key"], row["key"], why))
        for mismatch in mismatches:
            places = {(mismatch.table, source_id) for source_id in self._items_of(mismatch)}
            known = waived | shown if mismatch.kind == "quarantined" else waived
            if not places or not places <= known:
                result.append(mismatch)
        return result

    def _items_of(self, mismatch: Mismatch) -> list[bytes]:
        """The source items that a mismatch is about: all members, where they are merged."""
        table, source = self.tables[mismatch.table], mismatch.source
        if source is None:
            return []
        if table.migrate.kind == "collection":
            return whole_group(table, source)
        return [table.source.key_id(source)]

    def _digests(self) -> dict[str, Found]:
        """Begin to list what is touched, digest both sides, and look up what is unequal."""
        total = self._any.settings.segments
        count = max(table.source.count for table in self.tables.values())
        asked = {"total": total, "buckets": size(count, self._any.settings.buckets)}
        self.lease.update({"watch": self._watch + 1, "verifying": {}, "verified": {}})
        self.idle()
        for table in self.tables.values():
            drop(
                table, [row["sk"] for prefix in (DIRTY, "VER#") for row in self._old(table, prefix)]
            )
        self.lease.update({"verifying": asked})
        parts = [f"{side}/{n}" for side in ("source", "target") for n in range(total)]

        def left() -> list[Unit]:
            units = []
            for name, table in self.tables.items():
                rows = {row["part"]: row for row in table.rows(part_sk(self._watch, ""))}
                done = sum(int(row["total"]) for row in rows.values())
                most = 2 * table.source.count or None
                self._report.progress(f"verify {name}", done, most)
                units += [Unit("digest", name, part) for part in parts if part not in rows]
            return units

        with self._hire() as crew:
            self.work(crew, left)
        answers = {
            name: table.rows(part_sk(self._watch, "")) for name, table in self.tables.items()
        }
        self.lease.guard()
        return {
            name: compare(table, answers[name], total, self._runner, self._halt)
            for name, table in self.tables.items()
        }

    def _old(self, table: Table, prefix: str) -> list[Row]:
        """What earlier verifications kept in rows."""
        now = f"T#{table.name}#{prefix}{self._watch:06d}#"
        return [row for row in table.rows(prefix) if not row["sk"].startswith(now)]

    def idle(self) -> None:
        """Wait until nobody follows a shard who does not know of this verification.

        Who claims one from now on sees it, and keeps the list of touched keys for it.
        """
        for table in self.tables.values():
            wait_idle(table, "SHARD#", self._watcher, self.lease, self._kit)


def refused(row: Row) -> bool:
    """Whether a quarantined item was kept back because of what another one has or wants."""
    return not row["waived"] and row["error"] in ("Collision", "invalid:refused by the table")


def wait_idle(table: Table, prefix: str, watcher: Membership, lease: Lease, kit: Machinery) -> None:
    """Wait until every part of a table is let go, or its worker given up."""
    while True:
        rows = [row for row in table.rows(prefix) if row["owner"]]
        if not [row for row in rows if not watcher.gone(row["owner"])]:
            return
        lease.guard()
        kit.sleep(table.settings.poll)


def reversed_bits(total: int) -> list[int]:
    """0..total-1, neighbours far apart: an item collection lies in segments next to each other."""
    width = max(1, (total - 1).bit_length())
    return sorted(range(total), key=lambda n: int(f"{n:0{width}b}"[::-1], 2))


def _applied(lineage: Lineage) -> int:
    return sum(int(row["applied"]) for row in lineage.shards.values())
