"""Go back to the stack that was live before, with everything that was written since.

The cutover backwards: what the live stack took since its cutover is carried through the
transforms' `down` into the former stack, and the rest is as on the way there (`switch`).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from fearless.errors import FearlessError, Refused
from fearless.interfaces import DataRun, Journal, Release, Report, Stack
from fearless.ledger import Ledger, Live
from fearless.procedure import Done, Procedure, when
from fearless.project import Project
from fearless.steps.gate import ask, candidate
from fearless.steps.switch import Switch
from fearless.steps.way_back import WayBack, before, way_back

ROW = ("ROLLBACK", "ROLLBACK")
"""The ledger's row of the last rollback: `from`, `to`, `dns`, and whether it is `done`."""


def last(ledger: Ledger) -> dict[str, Any] | None:
    """The rollback that made the live stack live, finished or not; None when none did."""
    row, live = ledger.get(*ROW), ledger.live()
    return row if row is not None and live is not None and row["to"] == live.stack_id else None


def destination(ledger: Ledger, sha: str = "") -> Live:
    """What `doit rollback` goes back to (or has gone back to). Raises Refused in plain words.

    `sha` is what the operator says it is, if anything: its first digits are enough.
    """
    live = ledger.live()
    if live is None:
        raise Refused("nothing is live, so there is nothing to go back from")
    done = last(ledger)
    if done is not None and (not sha or live.sha.startswith(sha)):
        return live
    former = before(ledger, live)
    if former is None:
        raise Refused(
            f"nothing was live before {live.stack}, or it went live before rollbacks were known: "
            "there is no stack to go back to. Release a commit that reverts the change"
        )
    if sha and not former.sha.startswith(sha):
        raise Refused(
            f"{sha[:10]} was not live right before {live.sha[:10]}: that was {former.sha[:10]} "
            f"({former.release}), and only there the data can be carried back. To run other code, "
            "release it as a new commit"
        )
    return former


def procedure_of(project: Project, to: Live, report: Report, doing: str) -> Procedure:
    """The procedure of a rollback: its release is the one to go back to.

    `project` is the project as it was at the *live* SHA, whose transforms lead back.
    """
    record = project.ledger.release(to.sha) or {}
    release = Release(project.app.name, to.sha, to.release, record.get("tag", ""), to.stack)
    return Procedure(project, release, report, doing)


class Rollback(Switch):
    """The live pointer, the rights and DNS, back at the former stack, with the newest data."""

    name: ClassVar[str] = "rollback"

    def __init__(self, procedure: Procedure, accept_data_loss: bool = False) -> None:
        super().__init__(procedure)
        self._accept = accept_data_loss

    def find(self) -> Done | None:
        """Done when what is live became so by a rollback: going on would lead further back."""
        row = last(self.procedure.ledger)
        if row is None or not row.get("done") or not self.procedure.is_live:
            return None
        live = self.procedure.live()
        assert live is not None
        return Done(
            f"rolled back already: {live.release} is live since {when(live.since)}. To go back "
            "further, name the release: `doit rollback sha=...`"
        )

    def make(self) -> Done:
        """Go back, or finish going back."""
        procedure = self.procedure
        row, live = procedure.ledger.get(*ROW), procedure.live()
        stack = self._former()
        assert live is not None
        if live.stack_id == stack.id:
            return self._point(stack, live, row or {})
        if procedure.sealed() and row is not None and row["to"] == stack.id:
            procedure.report.line("going on with the rollback that was interrupted")
            return self._open(stack, live, row)
        way = self._way
        pointed = self._pointed(way.source)
        self._ready(way)
        row = {
            "from": live.stack_id,
            "from_sha": live.sha,
            "to": stack.id,
            "pointer": asdict(way.before),
            "dns": pointed,
            "fenced_at": None,
            "done": False,
        }
        self._remember(stack, row)
        procedure.report.line(f"going back from {live.release} to {way.before.release}")
        return self._open(stack, live, self._left(way, row))

    # ---------------------------------------------------------------- in order

    @cached_property
    def _way(self) -> WayBack:
        way = way_back(self.procedure.project)
        if way is None or way.before.sha != self.procedure.release.sha:
            raise Refused("what is live was changed meanwhile: run `doit rollback` again")
        return way

    def _former(self) -> Stack:
        procedure, live = self.procedure, self.procedure.live()
        stack = procedure.stack()
        if live is not None and stack is not None and stack.id == live.stack_id:
            return stack
        return self._way.target

    def _ready(self, way: WayBack) -> None:
        """The former stack is closed to writes, and its instances are up."""
        procedure, project = self.procedure, self.procedure.project
        if way.run is not None and project.store.writable(way.target):
            raise Refused(
                f"the applications of {way.target.name} may write it, so its data is its own now: "
                "only a stack that stayed closed since it was live can be gone back to"
            )
        if not way.target.ready:
            raise Refused(f"{way.target.name} is {way.target.status}")
        for table in way.ahead():
            procedure.report.line(
                f"the table {table} is not in {way.target.name}: its items stay in "
                f"{way.source.name}, and are there while that is kept"
            )
        self._check_gates()

    def _check_gates(self) -> None:
        """Only what holds for a release of any age; a plugin's gates are the live release's."""
        from fearless.builtin.gates import shows_sha, targets_healthy

        procedure, project = self.procedure, self.procedure.project
        subject = candidate(procedure)
        timeout = project.config.gates.timeout
        ask(targets_healthy(project.cloud, timeout=timeout, report=procedure.report), subject)
        if project.app.release:
            ask(shows_sha(project.app.release), subject)

    def _left(self, way: WayBack, row: dict[str, Any]) -> dict[str, Any]:
        """Close the live stack, with everything carried back, or listed when that is accepted."""
        if way.run is None:
            return row
        if why := self._cut(way, way.run):
            return self._give_up(way, way.run, row, why)
        return self._seal(way.run, row)

    def _cut(self, way: WayBack, run: DataRun) -> str:
        """Why the data cannot be carried back; "" when it can."""
        if way.one_way:
            return way.one_way
        state = self.procedure.project.store.state(run)
        if state.one_way or state.phase == "broken":
            return state.one_way or state.reason
        if state.phase == "none":
            return "where the way back starts was never fixed"
        return ""

    def _give_up(self, way: WayBack, run: DataRun, row: dict[str, Any], why: str) -> dict[str, Any]:
        procedure, store = self.procedure, self.procedure.project.store
        if not isinstance(store, Journal):
            raise Refused(
                f"what was written since the cutover cannot be carried back to {way.target.name}: "
                f"{why}. This data store cannot list it either, so there is no rollback. Release "
                "a commit that mends the change"
            )
        if not self._accept:
            count, least = _counted(store.writes(run, procedure.report))
            lost = f"{least}{count:,} writes since {when(way.live.since)}"
            raise Refused(
                f"what was written since the cutover cannot be carried back to {way.target.name}: "
                f"{why}. A rollback would lose {lost}. "
                "`doit rollback accept_data_loss=1` goes back without them, and lists them in a "
                "file first"
            )

        def listed() -> None:
            path = self._file(way)
            count, least = _write(path, store.writes(run, procedure.report))
            row.update(lost=f"{least}{count:,}", lost_file=str(path))
            told = "; what it could not list, it says at the end" if least else ""
            procedure.report.line(f"{count:,} writes are not carried back; see {path}{told}")

        return self._close(way.source, way.target, row, listed)

    def _file(self, way: WayBack) -> Path:
        at = int(self.procedure.ledger.clock())
        return self.procedure.project.directory / f"lost-{way.live.release}-{at}.jsonl"

    # ---------------------------------------------------------------- what is this direction's

    def _remember(self, stack: Stack, row: dict[str, Any]) -> None:
        self.procedure.ledger.put(*ROW, row)

    def _pointer(self, stack: Stack, live: Live | None) -> Live:
        """As it was, with the lineage its data had; only since when is new."""
        row = self.procedure.ledger.get(*ROW) or {}
        known = row.get("pointer")
        if known is None or known["stack_id"] != stack.id:
            raise FearlessError(f"the ledger does not know any more what {stack.name} was")
        was = Live(**{**known, "transforms": tuple(known["transforms"])})
        return replace(was, since=self.procedure.ledger.clock())

    def _history(self, stack: Stack, live: Live, row: dict[str, Any]) -> None:
        procedure = self.procedure
        procedure.ledger.remember(procedure.release, went_live=stack.id, live_since=live.since)
        if row.get("from_sha"):
            facts = {"superseded_at": live.since, "rolled_back_at": live.since}
            procedure.ledger.amend(str(row["from_sha"]), **facts)

    def _announce(self, live: Live, url: str) -> None:
        procedure = self.procedure
        row = procedure.ledger.get(*ROW) or {}
        message = f"rolled back to {live.release}"
        if "lost" in row:
            message += f" without {row['lost']} writes, see {row['lost_file']}"
        procedure.ledger.event("rollback", message, stack=live.stack)
        procedure.announce("live", f"{message}: it is live at {url}")


def _counted(writes: Iterable[Mapping[str, Any]]) -> tuple[int, str]:
    """How many writes a journal lists; and `at least ` when it says that it misses some."""
    count, least = 0, ""
    for write in writes:
        if "missing" in write:
            least = "at least "
        else:
            count += 1
    return count, least


def _write(path: Path, writes: Iterable[Mapping[str, Any]]) -> tuple[int, str]:
    """One JSON object a line, safely on disk; how many writes, as `_counted` says it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:

        def kept() -> Iterator[Mapping[str, Any]]:
            for write in writes:
                file.write(json.dumps(dict(write), default=_binary) + "\n")
                yield write

        found = _counted(kept())
        file.flush()
        os.fsync(file.fileno())
    return found


def _binary(value: object) -> Any:
    """Bytes as base64, as AWS writes them in JSON; sets sorted."""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
