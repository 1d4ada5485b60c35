"""Make every unit that differs, and every quarantined one, what it should be."""

from __future__ import annotations

from fearless.data.comparing import digests
from fearless.data.following import catch_up
from fearless.data.reconcile import reconcile
from fearless.data.session import Session
from fearless.data.writer import Op


def repair(session: Session) -> None:
    """Make every unit that differs, and every quarantined one, what it should be."""
    session.forget()
    session.settle_suspects()
    for table in session.tables.values():
        table.quarantine.reload()
        session.again(table, table.quarantine.rows())
    if not session.first.back:
        found = digests(session)
        for name, part in found.items():
            table = session.tables[name]
            reconcile(table, list(part.candidates.values()))
            strays = [Op(table.target.key_id(k), k, None, b"") for k in part.strays]
            table.writer(table.reader).write(strays)
        session.forget()
    catch_up(session)
    session.lease.update({"repair": False})
