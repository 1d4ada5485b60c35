"""Prove by sentinels that every change is applied; marks for where the way back begins."""

from __future__ import annotations

import uuid

from fearless.data.sentinels import delete_sentinels, write_sentinels
from fearless.data.session import Session
from fearless.data.state import Row
from fearless.data.turn import MARKS
from fearless.data.unit import Crew, Unit
from fearless.errors import FearlessError, Refused


def drain(session: Session, seconds: float) -> None:
    """Prove by sentinels that every change made before now is applied."""
    left: Row = session.lease.meta["sentinels"]
    if left:
        for table in session.tables.values():
            delete_sentinels(table, left["token"], int(left["limit"]))
    token = uuid.UUID(int=session.kit.random().getrandbits(128)).hex
    most = max(len(lineage.shards) for lineage in session.lineages.values())
    limit = max(64, 20 * most)
    session.lease.update({"sentinels": {"token": token, "limit": limit}})
    deadline = session.kit.clock() + seconds
    with session.hire() as crew:
        written = _sentinels(session, crew, token, limit, seconds)
    for name, table in session.tables.items():
        delete_sentinels(table, token, written[name])
    session.settle_collisions()
    session.lease.update({"sentinels": {}, "caught_up": int(session.kit.wall())})
    _clear(session, deadline)


def new_marks(session: Session) -> str:
    """The token of marks to be written into the targets; those that a kill left go first."""
    if left := str(session.lease.meta["marks"]):
        for table in session.tables.values():
            delete_sentinels(table, left, MARKS, table.target)
    token = uuid.UUID(int=session.kit.random().getrandbits(128)).hex
    session.lease.update({"marks": token})
    return token


def _clear(session: Session, deadline: float) -> None:
    """Leave no suspect key behind, by waiting if need be."""
    while True:
        session.settle_suspects()
        count, until = session.suspects()
        if not count:
            return
        wait = until - session.kit.wall()
        if session.kit.clock() + wait > deadline:
            raise Refused(
                f"{count} keys may still be reached by a request of a worker that fell silent, "
                f"for {wait:.0f} s; nothing was switched: sync again after that"
            )
        session.wait_until(until, "the last request of a worker that fell silent")


def _sentinels(
    session: Session, crew: Crew, token: str, limit: int, seconds: float
) -> dict[str, int]:
    deadline = session.kit.clock() + seconds
    written = dict.fromkeys(session.tables, 0)
    for lineage in session.lineages.values():
        lineage.refresh(force=True)
    while open_ := [n for n, lineage in session.lineages.items() if not lineage.delivered(token)]:
        if session.kit.clock() > deadline:
            raise FearlessError(
                f"table {open_[0]}: not every shard of {session.tables[open_[0]].source.table} "
                f"delivered a mark within {seconds:.0f} s; nothing was switched: try again"
            )
        units = []
        for name in open_:
            lineage = session.lineages[name]
            more = min(limit - written[name], max(2, 2 * len(lineage.runnable())))
            write_sentinels(session.tables[name], token, written[name], more)
            written[name] += more
            units += [Unit("follow", name, shard) for shard in lineage.runnable()]
        since = session.kit.wall()
        session.lease.guard()
        crew.offer(units)
        session.check()
        for name in open_:
            session.lineages[name].refresh(force=True)
        if session.kit.wall() - since < 0.02:
            session.kit.sleep(session.first.settings.poll)
    return written
