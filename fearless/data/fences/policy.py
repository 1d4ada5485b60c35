"""Fence by a resource policy on each table: whoever the application is, it may not write.

Not proven on real AWS: no emulator has resource policies, so this is tested against the service's
published shapes and rules only. Those rules: a change takes effect eventually, reads may show the
policy before it, and another change is refused for 15 seconds.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import code, explain
from fearless.data.fences import Memory, server_time
from fearless.data.fences.canary import Canary
from fearless.data.fences.documents import VERSION, Document, fence_statement, lifts
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Report

NONE = "NO_POLICY"
"""The revision that stands for no policy at all, in the service's words."""

MAX_BYTES = 20 * 1024
_BUSY = frozenset({"ResourceInUseException", "LimitExceededException", "ThrottlingException"})
_MOVED = "PolicyNotFoundException"


@dataclass(frozen=True)
class Attached:
    """The policy of a table as it was read: its text (empty: none), its revision, the time."""

    text: str
    revision: str
    now: datetime

    @property
    def document(self) -> Document:
        """The policy; one without statements when there is none."""
        if not self.text:
            return {"Version": VERSION, "Statement": []}
        document: Document = json.loads(self.text)
        if isinstance(document["Statement"], dict):
            document["Statement"] = [document["Statement"]]
        return document


class PolicyFence:
    """Denies writes to each table, to all but `principals` (ARNs; `*` may stand for a part).

    `principals` must hold who synchronises and who operates. A policy that is there is kept, with
    the denial added, and is restored to the letter. `settle` is how many seconds a change is given
    to take effect when no `canary` can try to write as the application, `lag` how many a change
    may take to be read, and `patience` how many the service may refuse one. Global tables: a policy
    fences one replica, so they are refused.
    """

    timed = True

    def __init__(
        self,
        dynamodb: Any,
        describe: Callable[[], Sequence[Any]],
        principals: Sequence[str],
        memory: Memory,
        name: str,
        canary: Canary | None = None,
        settle: float = 30.0,
        patience: float = 45.0,
        lag: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not principals:
            raise Refused("a policy fence without principals would lock out the sync itself")
        self._dynamodb = dynamodb
        self._describe = describe
        self._principals = tuple(principals)
        self._memory = memory
        self._canary = canary
        self._settle = settle
        self._patience = patience
        self._lag = lag
        self._clock = clock
        self._sleep = sleep
        self._prefix = f"FearlessFence{hashlib.sha256(name.encode()).hexdigest()[:8]}x"

    def fence(self, attempt: int, seconds: float | None) -> None:
        """Deny writes, for so long by the service's clock or for good."""
        deadline = self._clock() + (seconds or 0.0)
        for arn in self._tables():

            def fenced(attached: Attached, arn: str = arn) -> str:
                document, before = attached.document, self._memory.load(_row(arn))
                if seconds is not None and self._sealed(document, attempt):
                    return attached.text
                if before is None or not before["up"]:
                    self._memory.save(_row(arn), {"text": attached.text, "up": True})
                until = None
                if seconds is not None:
                    until = attached.now + timedelta(seconds=deadline - self._clock())
                sid = f"{self._prefix}{attempt:04d}"
                statement = fence_statement(sid, arn, self._principals, until)
                document["Statement"] = [*self._without(document, attempt), statement]
                return _text(document)

            self._change(arn, fenced)

    def unfence(self, attempt: int) -> None:
        """Take the denials of this attempt and of those before it out again."""
        for arn in self._tables():
            row = self._memory.load(_row(arn))
            before = str(row["text"]) if row else ""
            if row and row["up"]:
                self._see(arn, attempt)

            def unfenced(attached: Attached, before: str = before) -> str:
                document = attached.document
                kept = self._without(document, attempt)
                if kept == document["Statement"]:
                    return attached.text
                document["Statement"] = kept
                was = Attached(before, "", attached.now)
                return before if was.document == document else _text(document) if kept else ""

            self._change(arn, unfenced)
            if not any(self._number(s) for s in self._read(arn).document["Statement"]):
                self._memory.save(_row(arn), {"text": before, "up": False})

    def confirm(self, report: Report) -> str:
        """Write as the application until surely denied; without a canary, wait and say so."""
        if self._canary is not None:
            return self._canary.confirm("the application", self._describe, report)
        report.line(f"waiting {self._settle:.0f} s for the resource policies to take effect")
        self._sleep(self._settle)
        if not self.fenced():
            raise FearlessError("the resource policies do not show the fence: nothing was switched")
        return (
            f"resource policies in place for {self._settle:.0f} s; nobody tried to write as the "
            "application"
        )

    def fenced(self) -> bool:
        """Whether a denial of ours holds on every table, as far as the service tells."""
        for table in self._tables():
            attached = self._read(table)
            mine = [s for s in attached.document["Statement"] if self._number(s)]
            if not any((until := lifts(s)) is None or attached.now < until for s in mine):
                return False
        return True

    def _tables(self) -> list[str]:
        described = self._describe()
        for table in described:
            if table.get("Replicas"):
                raise Refused(
                    f"{table['TableName']} is a global table with "
                    f"{len(table['Replicas'])} other replicas, which a resource policy here does "
                    "not fence: use the fence `role` or `hook`"
                )
        return [str(table["TableArn"]) for table in described]

    def _number(self, statement: Document) -> int:
        """The attempt that a denial of ours belongs to; 0 for a statement of somebody else."""
        sid = str(statement.get("Sid", ""))
        number = sid.removeprefix(self._prefix)
        return int(number) if sid != number and number.isdigit() else 0

    def _without(self, document: Document, attempt: int) -> list[Document]:
        """The statements but for our denials of this attempt and of those before it."""
        return [s for s in document["Statement"] if not 0 < self._number(s) <= attempt]

    def _sealed(self, document: Document, attempt: int) -> bool:
        """Whether there is a denial for good, of this attempt or of a later one."""
        return any(self._number(s) >= attempt and lifts(s) is None for s in document["Statement"])

    def _see(self, arn: str, attempt: int) -> None:
        """Wait until a denial just put up shows: reads may be of the policy before it."""
        deadline = self._clock() + self._lag
        while self._clock() < deadline:
            document = self._read(arn).document
            if self._without(document, attempt) != document["Statement"]:
                return
            self._sleep(1.0)

    def _read(self, arn: str) -> Attached:
        try:
            answer = self._dynamodb.get_resource_policy(ResourceArn=arn)
        except ClientError as error:
            if code(error) != _MOVED:
                raise explain(error, f"reading the resource policy of {arn}") from error
            return Attached("", NONE, server_time(error.response))
        return Attached(answer["Policy"], answer["RevisionId"], server_time(answer))

    def _change(self, arn: str, change: Callable[[Attached], str]) -> None:
        """Replace the policy by what `change` makes of it, unless somebody else does meanwhile."""
        deadline = self._clock() + self._patience
        while True:
            attached = self._read(arn)
            text = change(attached)
            if text == attached.text:
                return
            if len(text.encode()) > MAX_BYTES:
                raise Refused(
                    f"the resource policy of {arn} would be {len(text.encode())} bytes with the "
                    f"fence, and {MAX_BYTES} are the limit: use the fence `role`"
                )
            try:
                if text:
                    self._dynamodb.put_resource_policy(
                        ResourceArn=arn, Policy=text, ExpectedRevisionId=attached.revision
                    )
                else:
                    self._dynamodb.delete_resource_policy(
                        ResourceArn=arn, ExpectedRevisionId=attached.revision
                    )
                return
            except ClientError as error:
                if code(error) not in (*_BUSY, _MOVED):
                    raise explain(error, f"changing the resource policy of {arn}") from error
                if self._clock() > deadline:
                    raise FearlessError(
                        f"the resource policy of {arn} could not be changed for "
                        f"{self._patience:.0f} s (changes 15 s apart are refused): {error}"
                    ) from error
            self._sleep(1.0)


def _row(arn: str) -> str:
    return f"policy {arn}"


def _text(document: Document) -> str:
    return json.dumps(document, separators=(",", ":"))
