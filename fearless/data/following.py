"""Apply what the sources change: until caught up, or for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fearless.data.heartbeat import Heartbeat
from fearless.data.lineage import Lineage
from fearless.data.session import Session
from fearless.data.unit import Crew, Unit

TOLD = 10.0
"""Seconds between two times that a run says how far it has come while it follows for ever."""

CHECKED = 60.0
"""Seconds between two looks whether streams and tables are still the same ones."""


def catch_up(session: Session, crew: Crew | None = None) -> None:
    """Apply every change made before now, or nearly now. Raises Gap."""
    since = session.kit.wall()
    if crew is None:
        with session.hire() as crew:
            _apply(session, crew, since)
    else:
        _apply(session, crew, since)
    session.settle_collisions()
    session.lease.update({"caught_up": int(since)})


def _apply(session: Session, crew: Crew, since: float) -> None:
    began = {name: _applied(lineage) for name, lineage in session.lineages.items()}
    for lineage in session.lineages.values():
        lineage.refresh(force=True)

    def left() -> list[Unit]:
        units = []
        for name, lineage in session.lineages.items():
            lineage.load()
            lineage.refresh()
            if lineage.caught_up(since):
                continue
            note = f"lag {lineage.lag(session.kit.wall()):.1f} s"
            session.report.progress(f"sync {name}", _applied(lineage) - began[name], None, note)
            units += [Unit("follow", name, shard) for shard in lineage.behind(since)]
            if not lineage.behind(since):
                lineage.refresh(force=True)
        return units

    waiting = True
    while waiting:
        session.work(crew, left)
        waiting = not all(lineage.caught_up(since) for lineage in session.lineages.values())
        if waiting:
            session.lease.guard()
            session.kit.sleep(session.first.settings.poll)


def follow_for(
    session: Session, seconds: float, crew: Crew, hearts: Mapping[str, Heartbeat]
) -> None:
    """Keep applying changes as they come, for about so long. Raises Gap."""
    units = []
    for name, lineage in session.lineages.items():
        lineage.load()
        lineage.refresh()
        hearts[name].beat()
        hearts[name].hear(lineage.shards)
        note = f"lag {lineage.lag(session.kit.wall()):.1f} s"
        if (trip := hearts[name].round_trip) is not None:
            note += f", heartbeat {trip:.1f} s"
        session.report.progress(f"sync {name}", _applied(lineage), None, note)
        units += [Unit("follow", name, shard, seconds, live=True) for shard in lineage.runnable()]
    session.lease.guard()
    crew.offer(units)
    session.check()
    now = session.kit.wall()
    if now - int(session.lease.meta["caught_up"]) > TOLD:
        session.lease.update({"caught_up": int(now - lag(session))})


def follow_until(session: Session, until: Callable[[], bool], check: Callable[[], None]) -> None:
    """Follow until that says so, with heartbeats; `check` that all is in place once a minute."""
    kit, checked = session.kit, session.kit.clock()
    settings = session.first.settings
    hearts = {
        name: Heartbeat(table, settings.heartbeat, session.report)
        for name, table in session.tables.items()
    }
    try:
        with session.hire() as crew:
            while not until():
                follow_for(session, 30.0, crew, hearts)
                session.settle_suspects()
                if kit.clock() - checked > CHECKED:
                    check()
                    checked = kit.clock()
                kit.sleep(4 * settings.poll)
    finally:
        for heart in hearts.values():
            heart.end()


def lag(session: Session) -> float:
    """Seconds that the table which is furthest behind is behind."""
    now = session.kit.wall()
    return max((lineage.lag(now) for lineage in session.lineages.values()), default=0.0)


def _applied(lineage: Lineage) -> int:
    return sum(int(row["applied"]) for row in lineage.shards.values())
