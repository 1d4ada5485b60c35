"""Look at what reaches the old stack after its fence: nothing should, and it must not be lost."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from fearless.errors import FearlessError, Refused
from fearless.interfaces import Late, LateWrites
from fearless.ledger import Ledger
from fearless.procedure import Procedure, when
from fearless.steps.way_back import WayBack


def look(procedure: Procedure, way: WayBack | None) -> Late | None:
    """Look at the stack that was live before, and write down what was seen; None: nothing can.

    What cannot be read any more is written down, and said, instead of raised: the live stack
    does not depend on it, only the deletion of the old one does.
    """
    store, ledger = procedure.project.store, procedure.ledger
    if way is None or way.run is None or not isinstance(store, LateWrites):
        return None
    run = replace(way.run, source=way.target, target=way.source, back=False)
    try:
        late = store.late(run, procedure.report)
        row = {**asdict(late), "at": ledger.clock(), "problem": ""}
    except Refused:
        raise
    except FearlessError as error:
        late, row = Late(), {**(seen(ledger, way.target.id) or asdict(Late()))}
        row |= {"at": ledger.clock(), "problem": str(error.args[0])}
        procedure.report.line(f"what reached {way.target.name} late is not known: {error.args[0]}")
    ledger.put("LATE", way.target.id, row)
    if late.conflicts:
        procedure.report.line(
            f"{late.conflicts} writes reached {way.target.name} after its fence and are not in "
            f"{way.source.name}: `doit status` tells, `doit retire` will not delete it"
        )
    return late


def seen(ledger: Ledger, stack_id: str) -> dict[str, Any] | None:
    """What the looks at a stack came to: a `Late` with `at` and `problem`; None before any."""
    return ledger.get("LATE", stack_id)


def told(row: dict[str, Any]) -> str:
    """Why the stack is not to be deleted; "" when nothing speaks against it."""
    if row["conflicts"]:
        return f"{row['conflicts']} writes that reached it after its fence are nowhere else"
    if row["problem"]:
        return (
            f"what reached it after its fence is not known since {when(row['at'])}: "
            f"{row['problem']}"
        )
    return ""
