"""What the holder of a run's lease does with its copied tables: follow, drain, compare, repair."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from fearless.data.changes import Changes, differing
from fearless.data.context import Table
from fearless.data.lease import Lease
from fearless.data.reconcile import read_source, reconcile
from fearless.data.replay import Follower
from fearless.data.sentinels import delete_sentinels, drain
from fearless.data.state import Row
from fearless.data.tables import Typed
from fearless.data.verify import Comparison, Found, Mismatch, settle
from fearless.data.work import Runner
from fearless.data.writer import Op
from fearless.interfaces import Report, Verdict
from fearless.owner import Owner, boottime


@dataclass(frozen=True)
class Machinery:
    """Everything that differs between a real run and a simulated one."""

    clock: Callable[[], float] = boottime
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random | None = None
    runner: Runner | None = None
    owner: Callable[[], Owner] = Owner.me
    heartbeat: bool = True


class Session:
    """The tables of a run while its lease is held, each with its follower."""

    def __init__(
        self,
        lease: Lease,
        tables: Sequence[Table],
        machinery: Machinery,
        run_all: Runner,
        halt: threading.Event,
        report: Report,
        changes: Changes,
    ) -> None:
        self.lease = lease
        self.tables = tables
        self._machinery = machinery
        self._run_all = run_all
        self._halt = halt
        self._report = report
        self._changes = changes
        self._followers = [Follower(table) for table in tables]
        for follower in self._followers:
            follower.load()

    def catch_up(self, followers: Sequence[Follower] | None = None) -> None:
        """Apply changes until every shard is at its end. Raises Gap."""
        followers = self._followers if followers is None else followers

        def follow(follower: Follower) -> None:
            follower.restart()
            while not follower.at_tip():
                if not follower.step():
                    self._machinery.sleep(follower.table.settings.poll)
                note = f"lag {follower.lag:.1f} s"
                self._report.progress(f"sync {follower.table.name}", follower.fresh, None, note)
            follower.save()

        self._run_all([partial(follow, follower) for follower in followers], self._halt)
        self.lease.update({"caught_up": int(min(follower.now for follower in followers))})

    def repair(self) -> None:
        """Make every item that differs, and every quarantined one, what T(source) is."""
        self._changes.forget()
        for table in self.tables:
            for row in table.quarantine.rows():
                reconcile(table, row["key"])
            for key_id, (key, source) in self._compare(table).candidates.items():
                if source is not None:
                    reconcile(table, source, [key])
                else:
                    table.writer(table.applying).write([Op(key_id, key, None, key_id)])
        self.catch_up()
        self.lease.update({"repair": False})

    def drain(self) -> None:
        """Prove by sentinels that every change made before now is applied."""
        left: Row = self.lease.meta["sentinels"]
        if left:
            for table in self.tables:
                delete_sentinels(table, left["token"], int(left["limit"]))
        rng = self._machinery.rng or random.Random()
        token = uuid.UUID(int=rng.getrandbits(128)).hex
        limit = max(64, 20 * max(len(follower.shards) for follower in self._followers))
        self.lease.update({"sentinels": {"token": token, "limit": limit}})
        tasks = [partial(drain, f.table, f, token, limit) for f in self._followers]
        self._run_all(tasks, self._halt)
        for follower in self._followers:
            delete_sentinels(follower.table, token, follower.sentinels)
            follower.save()
        caught_up = int(min(follower.now for follower in self._followers))
        self.lease.update({"sentinels": {}, "caught_up": caught_up})

    def verify(self) -> Verdict:
        """Compare every table, and look again at what differs until it is settled."""
        self._changes.begin()
        found = [self._compare(table) for table in self.tables]
        mismatches = [
            mismatch
            for follower, part in zip(self._followers, found, strict=True)
            for mismatch in self._settle(follower, part)
        ]
        verdict = _verdict(found, mismatches)
        if verdict.clean:
            self._changes.clean()
        return verdict

    def verify_changed(self) -> Verdict:
        """With both sides still: compare what changed since everything was proven equal."""
        found, mismatches = [], []
        for table in self.tables:
            noted = self._changes.of(table.name)
            found.append(Found(compared=len(noted)))
            mismatches += [
                Mismatch(table.name, kind, key, source)
                for kind, key, source in differing(table, noted)
            ]
            mismatches += self._quarantined(table, {})
        return _verdict(found, mismatches)

    def _compare(self, table: Table) -> Found:
        return Comparison(table, counter(self._report, "verify", table, 0)).run(self._run_all)

    def _settle(self, follower: Follower, found: Found) -> list[Mismatch]:
        table = follower.table

        def again() -> None:
            self._machinery.sleep(table.settings.poll)
            self.catch_up([follower])

        mismatches = settle(table, found, again)
        failed: dict[bytes, tuple[Typed, str]] = {}
        for key_id, key in found.failed.items():
            failure = table.migrate(read_source(table, key)).failure
            if failure:
                failed[key_id] = (key, f"{failure.transform}: {failure.error}")
        shown = {table.source.key_id(m.source) for m in mismatches if m.source}
        return mismatches + [
            mismatch
            for mismatch in self._quarantined(table, failed)
            if table.source.key_id(mismatch.key) not in shown
        ]

    @staticmethod
    def _quarantined(table: Table, failed: dict[bytes, tuple[Typed, str]]) -> list[Mismatch]:
        """The source items in quarantine, and those that `failed` just now."""
        rows: dict[bytes, tuple[Typed, str]] = {
            table.source.key_id(row["key"]): (row["key"], f"{row['transform']}: {row['error']}")
            for row in table.quarantine.rows()
        }
        return [
            Mismatch(table.name, "quarantined", key, key, f"quarantined, {why}")
            for key, why in {**failed, **rows}.values()
        ]


def counter(report: Report, what: str, table: Table, start: int) -> Callable[[int], None]:
    """A function that adds to what `report` shows as progress; for any thread."""
    lock, total = threading.Lock(), start

    def count(more: int) -> None:
        nonlocal total
        with lock:
            total += more
            report.progress(f"{what} {table.name}", total, table.source.count or None)

    return count


def _verdict(found: Sequence[Found], mismatches: Sequence[Mismatch]) -> Verdict:
    ignored: dict[str, int] = {}
    for part in found:
        for name, count in part.ignored.items():
            ignored[name] = ignored.get(name, 0) + count
    return Verdict(
        compared=sum(part.compared for part in found),
        missing=tuple(str(m) for m in mismatches if m.kind in ("missing", "quarantined")),
        extra=tuple(str(m) for m in mismatches if m.kind == "extra"),
        different=tuple(str(m) for m in mismatches if m.kind in ("different", "moving")),
        ignored=ignored,
    )
