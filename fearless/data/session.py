"""The tables of one run while its lease is held, and what every part of the coordinator needs.

What it does with them is in `copying`, `following`, `draining`, `comparing` and `repairing`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from fearless.data.backward import retry_back
from fearless.data.context import Table
from fearless.data.gather import retry_groups
from fearless.data.lease import Lease
from fearless.data.lineage import Lineage
from fearless.data.machinery import Machinery
from fearless.data.membership import Membership
from fearless.data.reconcile import reconcile
from fearless.data.state import Row
from fearless.data.touched import DIRTY, SUSPECTS, Touched, drop, keep, listed, merged
from fearless.data.unit import Crew, Unit
from fearless.data.work import Runner
from fearless.interfaces import Report

Hire = Callable[[], Crew]


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
        self.kit = machinery
        self.hire = hire
        self.check = check
        self.runner = runner
        self.watcher = watcher
        self.report = report
        self.halt = threading.Event()
        self.lineages = {name: Lineage(table) for name, table in tables.items()}

    @property
    def first(self) -> Table:
        """Any of the tables: what all of them share is asked of it."""
        return next(iter(self.tables.values()))

    @property
    def watch(self) -> int:
        """The number of the verification that touched keys are listed for."""
        return int(self.lease.meta["watch"])

    def work(self, crew: Crew, left: Callable[[], Sequence[Unit]]) -> None:
        """Offer what is left until nothing is."""
        before: Sequence[Unit] = ()
        pause = poll = self.first.settings.poll
        while units := left():
            self.lease.guard()
            crew.offer(units)
            self.check()
            pause = min(1.5 * pause, 4 * poll) if units == before else poll / 10
            if not getattr(crew, "busy", False):
                self.kit.sleep(pause)
            before = units

    def wait_until(self, moment: float, why: str) -> None:
        """Return when the server's clock is past a moment."""
        first, said = moment - self.kit.wall(), False
        while (left := moment - self.kit.wall()) > 0:
            if first >= 5 and not said:
                self.report.line(f"{why}: waiting {left:.0f} s until its last request is dead")
                said = True
            self.report.progress("waiting", int(first - left), int(first), why)
            self.kit.sleep(min(left, 1.0))
            self.lease.guard()

    def load(self) -> None:
        """See how far each shard has come."""
        for lineage in self.lineages.values():
            lineage.load()

    def idle(self) -> None:
        """Wait until nobody follows a shard who does not know of this verification.

        Who claims one from now on sees it, and keeps the list of touched keys for it.
        """
        for table in self.tables.values():
            wait_idle(table, "SHARD#", self.watcher, self.lease, self.kit)

    def forget(self) -> None:
        """Nothing is proven any more."""
        self.lease.update({"verified": {}})

    # ------------------------------------------------------------------ suspects and quarantine

    def suspects(self) -> tuple[int, float]:
        """Keys that a request may still reach that was sent long ago, and until when."""
        lists = [entry for table in self.tables.values() for entry in listed(table, SUSPECTS)]
        return sum(len(e.touched) for e in lists), float(max((e.due for e in lists), default=0))

    def settle_suspects(self) -> None:
        """Make right every suspect key that nothing can reach any more."""
        now = self.kit.wall()
        for table in self.tables.values():
            due = [entry for entry in listed(table, SUSPECTS) if entry.due <= now]
            if due:
                self.note(table, reconcile(table, merged(table, due)))
                drop(table, [entry.sk for entry in due])

    def settle_collisions(self) -> None:
        """Look again at items that were refused a key for another's sake: that may have passed."""
        for table in self.tables.values():
            if table.migrate.kind == "transferable" and not table.back:
                table.quarantine.reload()
                self.again(table, [row for row in table.quarantine.rows() if refused(row)])

    def retry(self, wanted: Callable[[Row], bool]) -> None:
        """Try to migrate quarantined items again."""
        for table in self.tables.values():
            table.quarantine.reload()
            rows = [row for row in table.quarantine.rows() if wanted(row)]
            self.again(table, rows)

    def again(self, table: Table, rows: Sequence[Row]) -> None:
        """Migrate quarantined items as they are now."""
        if table.back:
            touched = retry_back(table, rows)
        elif table.migrate.kind == "collection":
            touched = list(retry_groups(table, [row["key"] for row in rows]))
        else:
            touched = reconcile(table, [Touched(row["key"], []) for row in rows])
        self.note(table, touched)

    def note(self, table: Table, touched: Sequence[Touched]) -> None:
        """Let the next comparison under a fence look at these keys, too."""
        if watch := int(self.lease.meta["watch"]):
            keep(table, table.reader, f"{DIRTY}{watch:06d}#", touched)


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
