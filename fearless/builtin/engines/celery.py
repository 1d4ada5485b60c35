"""Units as messages in an SQS queue, for any number of `fearless worker` on any machines."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from fearless.data.calls import Caller
from fearless.data.copy import segment_sk
from fearless.data.digest import part_sk
from fearless.data.hire import connect
from fearless.data.job import Job
from fearless.data.replay import shard_sk
from fearless.data.state import StateTable
from fearless.data.unit import Unit
from fearless.data.worker import run_key
from fearless.errors import ConfigError
from fearless.interfaces import Cloud, Report

CREW = "CREW#"
LOOK = 1.0
LOOKS = 50


NOTICED = 1.5
"""Seconds within which every worker sees that its crew is gone."""


class Celery:
    """The engine of many machines: Celery with an SQS queue as its broker, without results.

    `queue` is a name or a URL. Its visibility timeout must be more than twice `unit_seconds`,
    which is the longest that a unit takes. At most `backlog` messages are under way.
    """

    def __init__(
        self, cloud: Cloud, queue: str, unit_seconds: float = 60.0, backlog: int = 1000
    ) -> None:
        self._cloud = cloud
        self._queue = queue
        self._longest = unit_seconds
        self._backlog = backlog

    def crew(self, job: Job, report: Report) -> CeleryCrew:
        """The workers that listen to the queue."""
        try:
            from fearless.builtin.engines import broker
        except ImportError as error:
            raise ConfigError(
                f'[engine] use = "celery" needs more packages ({error}): '
                "pip install 'fearless[celery]'"
            ) from error
        client = self._cloud.client("sqs")
        queue = broker.Queue.find(client, self._queue)
        if queue.visibility <= 2 * self._longest:
            raise ConfigError(
                f"queue {queue.name}: its visibility timeout is {queue.visibility:.0f} s and must "
                f"be more than {2 * self._longest:.0f} s, twice the longest unit of work, or "
                "every message is done more than once: set its VisibilityTimeout"
            )
        send = broker.sender(broker.application(client, queue))
        return CeleryCrew(job, report, send, queue.visibility, self._longest, self._backlog)


@dataclass
class _Sent:
    """A message under way: the row's version when it was sent or last seen to move, and when."""

    first: int
    version: int
    moved: float
    looked: float


class CeleryCrew:
    """Sends units, and looks at their rows to see whether a message must be sent again.

    A row of its own, `CREW#<token>`, is there while it is in a `with` block, and holds the job:
    workers stop when it is gone.
    """

    def __init__(
        self,
        job: Job,
        report: Report,
        send: Callable[[Mapping[str, Any]], None],
        visibility: float,
        longest: float,
        backlog: int = 1000,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._job = job
        self._report = report
        self._send = send
        self._visibility = visibility
        self._longest = longest
        self._backlog = backlog
        self._clock = clock
        self._sleep = sleep
        self._run = run_key(job.run, job.back)
        self._state = StateTable(connect(job).state, job.state_table, self._run)
        self._caller = Caller(lambda: None, lambda: None, clock, sleep)
        self._token = uuid.uuid4().hex[:12]
        self._sent: dict[Unit, _Sent] = {}

    def __enter__(self) -> CeleryCrew:
        """Let workers in."""
        row = {"job": self._job.to_json()}
        self._state.replace(self._caller, 0, CREW + self._token, row, None)
        return self

    def offer(self, units: Sequence[Unit]) -> None:
        """Send what was not sent, and again what nobody seems to work on; takes a moment."""
        wanted = dict.fromkeys(units)
        for unit in [unit for unit in self._sent if unit not in wanted]:
            del self._sent[unit]
        fresh = [unit for unit in wanted if unit not in self._sent]
        due = [unit for unit, sent in self._sent.items() if self._clock() - sent.looked >= LOOK]
        fresh = fresh[: max(0, self._backlog - len(self._sent))]
        if fresh or due:
            self._look(fresh, sorted(due, key=lambda unit: self._sent[unit].looked)[:LOOKS])
        self._sleep(self._job.settings.poll)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send everybody away; returns when nobody has a part in hand, or after a unit's time."""
        self._state.delete(self._caller, 0, CREW + self._token)
        self._sleep(NOTICED)
        until = self._clock() + self._longest
        while held := self._held():
            if self._clock() > until:
                self._report.line(
                    f"{held} parts are still in the hands of workers that may have died; whoever "
                    "goes on takes them over"
                )
                return
            self._sleep(self._job.settings.poll)

    def _look(self, fresh: Sequence[Unit], due: Sequence[Unit]) -> None:
        meta = self._state.meta(self._caller) or {}
        generation, watch = int(meta.get("generation", 0)), int(meta.get("watch", 0))
        for unit in fresh:
            version, _ = self._row(unit, generation, watch)
            self._again(unit, version)
        for unit in due:
            version, owner = self._row(unit, generation, watch)
            sent, now = self._sent[unit], self._clock()
            sent.looked = now
            if version != sent.version:
                sent.version, sent.moved = version, now
            ended = not owner and version != sent.first
            patience = self._job.settings.lease if owner else self._visibility
            if ended or now - sent.moved > patience:
                self._again(unit, version)

    def _again(self, unit: Unit, version: int) -> None:
        order = {
            "unit": asdict(unit),
            "state": self._job.state_table,
            "run": self._run,
            "crew": self._token,
        }
        self._send(order)
        self._sent[unit] = _Sent(version, version, self._clock(), self._clock())

    def _row(self, unit: Unit, generation: int, watch: int) -> tuple[int, str]:
        """The version of a unit's row, and who has it in hand."""
        names = {
            "copy": lambda: segment_sk(int(unit.part)),
            "follow": lambda: shard_sk(unit.part),
            "digest": lambda: part_sk(watch, unit.part),
        }
        sk = f"T#{unit.table}#{names[unit.kind]()}"
        row = self._state.row(self._caller, generation, sk) or {}
        return int(row.get("v", 0)), str(row.get("owner", ""))

    def _held(self) -> int:
        meta = self._state.meta(self._caller)
        if not self._sent or meta is None:
            return 0
        rows = self._state.rows(self._caller, int(meta["generation"]), "T#")
        return sum(1 for row in rows if row.get("owner"))
