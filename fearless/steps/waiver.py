"""What could not be migrated: look at it, try again, or leave one item out for a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fearless.errors import ConfigError, Refused
from fearless.procedure import Done, Procedure


def quarantine(procedure: Procedure, waive: str, reason: str, retry: bool) -> Done:
    """List the quarantine of a release; first `retry` all of it, or `waive` one `TABLE/KEY`.

    A waiver holds for this release's copy, and is remembered in the ledger with its reason.
    """
    if waive and not reason:
        raise ConfigError(f'a waiver needs a reason: `doit quarantine waive={waive} reason="..."`')
    run = procedure.data_run()
    if run is None:
        return Done("no production data to migrate", {"quarantine": []})
    store = procedure.project.store
    if retry:
        procedure.change()
        store.retry(run, procedure.report)
    if waive:
        procedure.change()
        row = _found(store.quarantine(run), waive)
        store.waive(run, row["table"], row["key"], reason)
        message = f"{waive} is left out of {procedure.release.name}: {reason}"
        procedure.ledger.event("waived", message, sha=procedure.release.sha)
    rows = [{**row, "name": name(row)} for row in store.quarantine(run)]
    lines = [f"{len(rows):,} items could not be migrated" if rows else "nothing is in it"]
    lines += [
        f"    {row['name']}  {row['transform']}: {row['error']}: {row['message']} ({row['where']})"
        for row in rows
    ]
    if rows:
        lines.append(
            "    Mend the transform and commit; or leave one out: `doit quarantine "
            'waive=TABLE/KEY reason="..."`'
        )
    return Done("\n".join(lines), {"quarantine": [_plain(row) for row in rows]})


def name(row: Mapping[str, Any]) -> str:
    """How people call a quarantined item: `orders/books-00/20260101-000001`."""
    values = (raw for value in row["key"].values() for raw in value.values())
    return "/".join([str(row["table"]), *(_text(value) for value in values)])


def _found(rows: Any, waive: str) -> Mapping[str, Any]:
    for row in rows:
        if name(row) == waive:
            found: Mapping[str, Any] = row
            return found
    known = ", ".join(name(row) for row in rows[:3]) or "nothing"
    raise Refused(f"{waive} is not in quarantine (there is: {known})")


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "table", "transform", "error", "message", "where")
    return {key: row[key] for key in keys}
