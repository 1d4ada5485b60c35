"""Compare the tables of a run with T(source), online or while both sides stand still."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fearless.data.context import Table
from fearless.data.digest import part_sk, size
from fearless.data.following import catch_up
from fearless.data.gather import whole_group
from fearless.data.identity import unit_id
from fearless.data.membership import ROUNDING
from fearless.data.session import Session
from fearless.data.state import Row
from fearless.data.touched import DIRTY, Listed, Touched, drop, listed, merged
from fearless.data.unit import Crew, Unit
from fearless.data.verify import Found, Mismatch, compare, differing, settle, verdict
from fearless.interfaces import Verdict

SLICE = 100
"""Units compared at once."""


def verify(session: Session) -> tuple[Verdict, int]:
    """Compare every table, and look again at what differs until it is settled.

    Also counts the items that the way back does not lead back to what they were.
    """
    if session.first.back:
        return _verify_touched(session, online=True), 0
    found = digests(session)
    mismatches: list[Mismatch] = []
    with session.hire() as crew:
        for name, part in found.items():
            table = session.tables[name]
            mismatches += _settled(session, table, part.candidates.values(), crew)
            mismatches += [Mismatch(name, "extra", key, None) for key in part.strays]
    mismatches = _unwaived(session, mismatches, found)
    result = verdict(list(found.values()), mismatches)
    if result.clean:
        session.lease.update({"verified": {"watch": session.watch, "at": int(session.kit.wall())}})
    return result, sum(part.one_way for part in found.values())


def verify_still(session: Session) -> Verdict:
    """With both sides still: compare what changed since everything was proven equal."""
    return _verify_touched(session, online=False)


def known(session: Session, most: float) -> bool:
    """Whether only what is on the list of touched keys can differ, for `most` seconds."""
    verified = session.lease.meta.get("verified") or {}
    if session.first.back:
        return True
    return (
        bool(verified)
        and verified["watch"] == session.watch
        and session.kit.wall() - int(verified["at"]) < most
    )


def _verify_touched(session: Session, online: bool) -> Verdict:
    """Compare every touched key: of those that still may change (`online`), look again.

    Online, what was found right is taken off the list, so that a fence need not look at it.
    """
    before = session.watch
    if online:
        session.lease.update({"watch": before + 1, "verified": {}})
        session.idle()
    found: dict[str, Found] = {}
    mismatches: list[Mismatch] = []
    for name, table in session.tables.items():
        lists = _dirty(session, table, before)
        touched = merged(table, lists)
        found[name] = Found(compared=len(touched))
        wrong = _wrong(session, table, touched)
        if online:
            with session.hire() as crew:
                real = _settled(session, table, [entry for entry, _ in wrong], crew)
            if not real:
                drop(table, [entry.sk for entry in lists])
        else:
            real = [mismatch for _, part in wrong for mismatch in part]
        mismatches += real
    result = verdict(list(found.values()), _unwaived(session, mismatches, found))
    if online and result.clean:
        session.lease.update({"verified": {"watch": session.watch, "at": int(session.kit.wall())}})
    return result


def _dirty(session: Session, table: Table, watch: int) -> list[Listed]:
    """The touched keys that nothing has proven since: on the way back those of all lists."""
    if not session.first.back:
        return listed(table, f"{DIRTY}{watch:06d}#")
    last = f"T#{table.name}#{DIRTY}{watch:06d}#~"
    return [entry for entry in listed(table, DIRTY) if entry.sk <= last]


def _wrong(
    session: Session, table: Table, touched: Sequence[Touched]
) -> list[tuple[Touched, list[Mismatch]]]:
    found = []
    for start in range(0, len(touched), SLICE):
        part = {unit_id(table, entry.source): entry for entry in touched[start : start + SLICE]}
        for key_id, (_, wrong) in differing(table, part.values()).items():
            if wrong:
                found.append((part[key_id], wrong))
        session.lease.guard()
    return found


def _settled(
    session: Session, table: Table, wanted: Iterable[Touched], crew: Crew
) -> list[Mismatch]:
    """Looks lie so far apart that what catching up may have missed is applied in between."""
    waits, settings = iter([table.settings.poll]), table.settings
    apart = max(settings.poll, (settings.near + ROUNDING) / max(1, settings.rounds - 1))

    def again() -> None:
        session.kit.sleep(next(waits, apart))
        catch_up(session, crew)

    return settle(table, wanted, again, settings.rounds)


def _unwaived(
    session: Session, mismatches: Sequence[Mismatch], found: Mapping[str, Found]
) -> list[Mismatch]:
    """With every quarantined item among the mismatches, but for those that were waived."""
    result: list[Mismatch] = []
    waived: set[tuple[str, bytes]] = set()
    shown: set[tuple[str, bytes]] = set()
    for name, table in session.tables.items():
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
        places = {(mismatch.table, source_id) for source_id in _items_of(session, mismatch)}
        known = waived | shown if mismatch.kind == "quarantined" else waived
        if not places or not places <= known:
            result.append(mismatch)
    return result


def _items_of(session: Session, mismatch: Mismatch) -> list[bytes]:
    """The source items that a mismatch is about: all members, where they are merged."""
    table, source = session.tables[mismatch.table], mismatch.source
    if source is None:
        return []
    if table.migrate.kind == "collection":
        return whole_group(table, source)
    return [table.source.key_id(source)]


def digests(session: Session) -> dict[str, Found]:
    """Begin to list what is touched, digest both sides, and look up what is unequal."""
    total = session.first.settings.segments
    count = max(table.source.count for table in session.tables.values())
    asked = {"total": total, "buckets": size(count, session.first.settings.buckets)}
    session.lease.update({"watch": session.watch + 1, "verifying": {}, "verified": {}})
    session.idle()
    for table in session.tables.values():
        drop(
            table, [row["sk"] for prefix in (DIRTY, "VER#") for row in _old(session, table, prefix)]
        )
    session.lease.update({"verifying": asked})
    parts = [f"{side}/{n}" for side in ("source", "target") for n in range(total)]

    def left() -> list[Unit]:
        units = []
        for name, table in session.tables.items():
            rows = {row["part"]: row for row in table.rows(part_sk(session.watch, ""))}
            done = sum(int(row["total"]) for row in rows.values())
            most = 2 * table.source.count or None
            session.report.progress(f"verify {name}", done, most)
            units += [Unit("digest", name, part) for part in parts if part not in rows]
        return units

    with session.hire() as crew:
        session.work(crew, left)
    answers = {
        name: table.rows(part_sk(session.watch, "")) for name, table in session.tables.items()
    }
    session.lease.guard()
    return {
        name: compare(table, answers[name], total, session.runner, session.halt)
        for name, table in session.tables.items()
    }


def _old(session: Session, table: Table, prefix: str) -> list[Row]:
    """What earlier verifications kept in rows."""
    now = f"T#{table.name}#{prefix}{session.watch:06d}#"
    return [row for row in table.rows(prefix) if not row["sk"].startswith(now)]
