"""What became of each build: one row that only its present holder may finish, and who is at work.

A build is `queued`, `running`, and then `succeeded` or `failed` for good. Each time a worker begins
it, the row gets a new claim; whoever had it before can change nothing any more.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

from fearless.builtin.farm.message import Order
from fearless.errors import FearlessError
from fearless.interfaces import Image
from fearless.rows import Rows

State = Literal["queued", "running", "succeeded", "failed"]
ATTEMPTS = 3
"""So often a build is begun before its failures are taken for more than bad luck."""
DAYS = 30
"""So long rows are kept."""
BUILD = "BUILD"
WORKER = "WORKER"
TRIES = 20


class Lost(FearlessError):
    """Another worker has the build now."""


@dataclass(frozen=True)
class Status:
    """A build's row. Times are Unix times, 0 for not yet; `seconds` is from begin to end.

    `attempts` counts how often it was begun, without those times when it was handed back
    unhurt. `message` is the order as it was sent.
    """

    id: str
    state: State
    app: str
    repository: str
    ref: str
    sha: str
    requested_by: str
    message: str
    queued: float
    begun: float = 0.0
    heard: float = 0.0
    finished: float = 0.0
    attempts: int = 0
    claim: str = ""
    worker: str = ""
    digest: str = ""
    image_id: str = ""
    reference: str = ""
    error: str = ""
    version: int = 0

    @classmethod
    def of(cls, order: Order, now: float) -> Status:
        """Of a build that nobody has begun."""
        return cls(
            order.id,
            "queued",
            order.options.app,
            order.repository,
            order.ref,
            order.sha,
            order.requested_by,
            order.body(),
            now,
        )

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("succeeded", "failed")

    @property
    def seconds(self) -> float | None:
        """How long it took, once it is over."""
        return round(self.finished - self.begun, 3) if self.over and self.begun else None

    @property
    def image(self) -> Image:
        """What was built, as a registry verifies it."""
        return Image(self.app, self.sha, self.digest, self.image_id, f"registry:{self.reference}")

    def facts(self) -> dict[str, Any]:
        """For programs."""
        left_out = ("claim", "message", "version")
        found = {name: value for name, value in asdict(self).items() if name not in left_out}
        return {**found, "seconds": self.seconds}


@dataclass(frozen=True)
class WorkerRow:
    """A worker that was alive at `seen`, which it says anew every `every` seconds."""

    name: str
    slots: int
    repositories: tuple[str, ...]
    since: float
    seen: float
    every: float

    def alive(self, now: float) -> bool:
        """Whether it was heard of lately; clocks may be half a minute apart."""
        return abs(now - self.seen) < 3 * self.every + 30


class Builds(Rows):
    """The rows of one farm, in a table of its own: a worker needs no part of the ledger."""

    creation: ClassVar[Mapping[str, Any]] = {"SSESpecification": {"Enabled": True}}

    def __init__(self, client: Any, table: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(client, table)
        self.clock = clock

    def created(self) -> None:
        """Let old rows expire."""
        self.client.update_time_to_live(
            TableName=self.table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
        )

    def expires(self) -> dict[str, dict[str, str]]:
        """The attribute of a row that lets it go in `DAYS` days."""
        return {"expires": {"N": str(int(self.clock() + DAYS * 86400))}}

    # ------------------------------------------------------------------ builds

    def status(self, id: str) -> Status | None:
        """The row of a build, or None."""
        found = self.get(BUILD, id)
        return Status(**found) if found else None

    def need(self, id: str) -> Status:
        """The row of a build. Raises FearlessError when there is none."""
        found = self.status(id)
        if found is None:
            raise FearlessError(
                f"{self.table} knows no build {id!r}: `fearless build queue` lists those there are"
            )
        return found

    def builds(self) -> list[Status]:
        """Every build that is remembered, oldest first."""
        found = [Status(**row) for row in self.all(BUILD)]
        return sorted(found, key=lambda status: status.queued)

    def add(self, order: Order) -> bool:
        """Make the row of a new build; False when there is one of that id."""
        self.ensure()
        return self._put(Status.of(order, self.clock()), None)

    def begin(self, order: Order, worker: str) -> Status | None:
        """Claim it for a worker that was given its message; None when it is over already."""

        def begun(status: Status) -> Status | None:
            if status.over:
                return None
            now = self.clock()
            claim = f"{worker}#{uuid.uuid4().hex[:12]}"
            return replace(
                status,
                state="running",
                begun=now,
                heard=now,
                attempts=status.attempts + 1,
                claim=claim,
                worker=worker,
            )

        if self.status(order.id) is None:
            self.add(order)
        return self._change(order.id, begun)

    def beat(self, held: Status) -> None:
        """Say that it is being worked on. Raises Lost."""
        self._held(held, lambda now: replace(now, heard=self.clock()))

    def succeed(self, held: Status, image: Image) -> None:
        """Finish it. Raises Lost, and then the row is as the other worker wants it."""
        reference = image.source.partition("registry:")[2] or image.reference
        self._held(
            held,
            lambda now: replace(
                now,
                state="succeeded",
                finished=self.clock(),
                digest=image.digest,
                image_id=image.image_id,
                reference=reference,
                error="",
            ),
        )

    def fail(self, held: Status, error: str) -> None:
        """Finish it without an image. Raises Lost."""
        self._held(
            held, lambda now: replace(now, state="failed", finished=self.clock(), error=error)
        )

    def let_go(self, held: Status, error: str) -> None:
        """Let another worker begin it; `error` is what went wrong, or empty. Raises Lost."""
        attempts = held.attempts if error else held.attempts - 1
        self._held(
            held,
            lambda now: replace(now, state="queued", claim="", attempts=attempts, error=error),
        )

    def reject(self, id: str, error: str) -> None:
        """Finish a build that nobody could begin, if its sender waits for it."""

        def rejected(status: Status) -> Status | None:
            if status.state != "queued":
                return None
            return replace(status, state="failed", finished=self.clock(), error=error)

        if self.status(id) is not None:
            self._change(id, rejected)

    def _held(self, held: Status, change: Callable[[Status], Status]) -> None:
        def checked(now: Status) -> Status | None:
            if now.claim != held.claim or now.state != "running":
                raise Lost(
                    f"build {held.id} is {now.state} in the hands of {now.worker or 'nobody'}"
                )
            return change(now)

        self._change(held.id, checked)

    def _change(self, id: str, change: Callable[[Status], Status | None]) -> Status | None:
        """Write what `change` makes of the row, unless it makes None; it may be asked again."""
        for _ in range(TRIES):
            old = self.need(id)
            new = change(old)
            if new is None:
                return None
            new = replace(new, version=old.version + 1)
            if self._put(new, old):
                return new
        raise FearlessError(f"build {id}: its row changes all the time; try again")

    def _put(self, new: Status, old: Status | None) -> bool:
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if old is not None:
            condition = {
                "ConditionExpression": "version = :version",
                "ExpressionAttributeValues": {":version": {"N": str(old.version)}},
            }
        row = self.row(BUILD, new.id, asdict(new)) | {"version": {"N": str(new.version)}}
        try:
            self.client.put_item(TableName=self.table, Item=row | self.expires(), **condition)
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    # ------------------------------------------------------------------ workers

    def report(self, worker: WorkerRow) -> None:
        """Say that a worker is alive."""
        self.ensure()
        row = self.row(WORKER, worker.name, asdict(worker))
        self.client.put_item(TableName=self.table, Item=row | self.expires())

    def leave(self, name: str) -> None:
        """Forget a worker."""
        self.delete(WORKER, name)

    def workers(self) -> list[WorkerRow]:
        """Those that are alive."""
        rows = self.all(WORKER)
        found = [WorkerRow(**{**row, "repositories": tuple(row["repositories"])}) for row in rows]
        return [worker for worker in found if worker.alive(self.clock())]
