"""The release ledger: history, the live pointer and step records, in one table outside every stack.

One DynamoDB table per app, `fearless-<app>`. What changes at a cutover lives here and in DNS,
never in an immutable stack.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from fearless.errors import FearlessError, Refused
from fearless.interfaces import Release
from fearless.rows import Rows


@dataclass(frozen=True)
class Live:
    """The live pointer. `transforms` are all the data has been through, as `name@digest`."""

    stack_id: str
    stack: str
    release: str
    sha: str
    since: float
    transforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepRecord:
    """When a step of a release was last made, how long it took (seconds), and what came of it."""

    step: str
    at: float
    seconds: float
    detail: str
    data: Mapping[str, Any]


class Ledger(Rows):
    """Rows that must not be lost: the table is protected from deletion, and backed up."""

    creation = MappingProxyType({"DeletionProtectionEnabled": True})

    def __init__(self, client: Any, app: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(client, f"fearless-{app}")
        self.clock = clock

    # ------------------------------------------------------------- the live pointer

    def live(self) -> Live | None:
        """What is live, read consistently."""
        item = self.get("LIVE", "LIVE")
        if item is None:
            return None
        return Live(**{**item, "transforms": tuple(item["transforms"])})

    def go_live(self, new: Live, expected: Live | None) -> None:
        """Compare-and-swap the live pointer. Raises Refused naming what is live instead."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if expected is not None:
            condition = {
                "ConditionExpression": "stack_id = :expected",
                "ExpressionAttributeValues": {":expected": {"S": expected.stack_id}},
            }
        self.ensure()
        try:
            self.client.put_item(
                TableName=self.table,
                Item=self.row("LIVE", "LIVE", asdict(new)) | {"stack_id": {"S": new.stack_id}},
                **condition,
            )
        except self.client.exceptions.ConditionalCheckFailedException:
            now = self.live()
            raise Refused(
                f"{now.stack if now else 'nothing'} is live, not "
                f"{expected.stack if expected else 'nothing'} as when this cutover began; "
                "somebody else changed it: look at `doit releases`"
            ) from None

    # ------------------------------------------------------------- history and steps

    def remember(self, release: Release, **facts: Any) -> None:
        """Add facts to a release's record; later facts of the same name replace earlier ones."""
        known = self.get("RELEASE", release.sha) or {
            "name": release.name,
            "sha": release.sha,
            "tag": release.tag,
            "stack": release.stack_name,
            "created": self.clock(),
        }
        self.put("RELEASE", release.sha, {**known, **facts})

    def amend(self, sha: str, **facts: Any) -> None:
        """Add facts to the record of a release that is already known."""
        known = self.get("RELEASE", sha)
        if known is not None:
            self.put("RELEASE", sha, {**known, **facts})

    def releases(self) -> list[dict[str, Any]]:
        """Every release there ever was, oldest first."""
        return sorted(self.all("RELEASE"), key=lambda record: float(record["created"]))

    def release(self, sha: str) -> dict[str, Any] | None:
        """The record of one release."""
        return self.get("RELEASE", sha)

    def step_done(self, release: Release, record: StepRecord) -> None:
        """Remember that a step was made."""
        self.put(f"STEPS#{release.stack_name}", record.step, asdict(record))

    def steps(self, release: Release) -> dict[str, StepRecord]:
        """The steps made for a release, by name."""
        rows = self.all(f"STEPS#{release.stack_name}")
        return {row["step"]: StepRecord(**row) for row in rows}

    def event(self, kind: str, message: str, **facts: Any) -> None:
        """Append a line of history."""
        at = self.clock()
        self.put("EVENT", f"{at:017.6f}", {"at": at, "kind": kind, "message": message, **facts})

    def events(self) -> list[dict[str, Any]]:
        """All history, oldest first."""
        return self.all("EVENT")

    def created(self) -> None:
        """Switch continuous backups on."""
        try:
            self.client.update_continuous_backups(
                TableName=self.table,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )
        except self.client.exceptions.ClientError as error:
            raise FearlessError(
                f"the ledger table {self.table} has no point-in-time recovery: {error}"
            ) from None
