"""A data run as the command line describes it: two tables, their sides, and what happens between.

The run's id is made of both tables' ARNs, so the same command finds the same run again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.engine import Migration
from fearless.data.job import Clients, Job, Pair
from fearless.data.machinery import Machinery
from fearless.data.sample import Trial
from fearless.data.settings import Settings
from fearless.data.state import Row
from fearless.data.tablekit import same_code
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline, digest_of
from fearless.data_command import state_table as tables
from fearless.data_command import transforms as files
from fearless.data_command.preflight import check_clock, check_different, check_stream, check_ttl
from fearless.data_command.sampling import partition, some
from fearless.data_command.sides import Access, Side
from fearless.data_command.status import Reader, Status, summary
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.interfaces import Report, Transform

if TYPE_CHECKING:
    from fearless.interfaces import CopyEngine

ENGINES = ("inline", "processes", "celery")


@dataclass(frozen=True)
class Options:
    """What a command line may say about a run, with its defaults. Times in seconds.

    `name` is what transforms call the table, `transforms` the file that they are in: for a run that
    was begun, those that it was begun with, unless it is to be copied `again`. `zombie`: after so
    long a request that was sent can no longer land (900 on AWS; 2 when both endpoints are on this
    machine).
    """

    source: str
    target: str
    source_access: Access = field(default_factory=Access)
    target_access: Access = field(default_factory=Access)
    state_table: str = tables.NAME
    transforms: str = ""
    name: str = ""
    segments: int = 4
    engine: str = "inline"
    processes: int | None = None
    queue: str = ""
    max_rate: float | None = None
    max_quarantine: int = 1000
    zombie: float | None = None
    again: bool = False
    heartbeat: float = 5.0


class Run:
    """One run and everything it needs. Nothing is asked or written until a method is called."""

    def __init__(self, options: Options, report: Report) -> None:
        self.options = options
        self.report = report
        self.source = Side("source", options.source_access)
        self.target = Side("target", options.target_access)

    @cached_property
    def infos(self) -> tuple[TableInfo, TableInfo]:
        """Both tables as they are now. Raises with one clear line when one is not there."""
        old = self.source.describe(self.options.source)
        new = self.target.describe(self.options.target)
        check_different(self.source, self.target, old, new)
        return old, new

    @cached_property
    def id(self) -> str:
        """The same for the same two tables, wherever the command is run."""
        arns = "\n".join(info.arn for info in self.infos)
        return f"data-{hashlib.sha256(arns.encode()).hexdigest()[:16]}"

    @cached_property
    def meta(self) -> Row | None:
        """The row of the run, as it was when this was first asked; None before it was begun."""
        _ = self.infos
        if not tables.exists(self.target, self.options.state_table):
            return None
        return self._reader.meta()

    @property
    def begun(self) -> bool:
        """Whether anything was ever copied."""
        return self.meta is not None and self.meta["phase"] != "none"

    @cached_property
    def back(self) -> bool:
        """Whether data goes back: the new table is live since a cutover."""
        return self.begun and self._reader.live() == "target"

    @cached_property
    def name(self) -> str:
        """What transforms call the table."""
        if self.options.name or self._before is None:
            return self.options.name or self.options.source
        return self._before.pairs[0].name

    @cached_property
    def transforms(self) -> Sequence[Transform]:
        """Of the file, if there is one."""
        found = files.load(self._file)
        files.check_tables(found, [self.name], self._file)
        return found

    @property
    def facts(self) -> Callable[[], Mapping[str, Any]]:
        """For each progress event: what the rows say of each table."""

        def look() -> Mapping[str, Any]:
            with contextlib.suppress(FearlessError, ClientError, BotoCoreError):
                status = self._reader.read()
                return {"tables": ((self.back and status["back"]) or status)["tables"]}
            return {}

        return look

    # ------------------------------------------------------------------ checks

    def preflight(self) -> None:
        """Raise unless a copy may begin, or go on."""
        old, new = self.infos
        if self.begun:
            self._check_decided()
        if self.back:
            raise Refused(
                f"{new.table} is live since the cutover: nothing may be copied over it. `fearless "
                "data rollback` goes back"
            )
        if self.begun and not self.options.again and not self._same_code:
            raise Refused(
                f"this run was begun with other transforms{self._with}: give the same ones to go "
                "on, or --again to copy everything from the beginning with these"
            )
        if self.begun and self.options.again and self._same_code:
            raise Refused(
                "--again is for changed transforms, and these are the ones the run was begun with: "
                "copying would make the same items. `fearless data repair` makes right what differs"
            )
        if not self.begun or self.options.again:
            check_stream(self.source, old)
        self.check_target()
        for side, info in ((self.source, old), (self.target, new)):
            check_clock(side, info.table)

    def check_target(self) -> None:
        """Raise when the target changes by itself."""
        if not self.back:
            check_ttl(self.target, self.infos[1].table)

    def check_begun(self, code: bool = True, decided: bool = False) -> None:
        """Raise unless there is a run, and (with `code`) these are its transforms.

        To go on with other ones would spoil it: what was copied was made by those before. Only what
        ends a `decided` cutover may go on with one.
        """
        old, new = self.infos
        if not self.begun:
            raise Refused(
                f"nothing was copied from {old.table} to {new.table} yet, as far as "
                f"{self.options.state_table} knows: `fearless data copy` first"
            )
        if code and not decided:
            self._check_decided()
        if code and not self._same_code:
            raise Refused(
                f"this run was begun with other transforms{self._with}: give the same ones, or "
                "copy everything from the beginning with these by `fearless data copy ... --again`"
            )

    @property
    def _same_code(self) -> bool:
        return bool(self.meta) and same_code(
            self.meta or {}, {self.name: digest_of(self.name, self.transforms)}
        )

    @property
    def _with(self) -> str:
        """What the run was begun with, in brackets."""
        before = self._before
        file = before.arguments.get("file") if before else ""
        return f" ({file or 'none'}, for table {before.pairs[0].name})" if before else ""

    @property
    def _before(self) -> Job | None:
        """What workers were told when the run was begun."""
        if self.options.again or self.meta is None or not self.meta.get("job"):
            return None
        return Job.of_json(self.meta["job"])

    # ------------------------------------------------------------------ parts

    def prepare(self) -> None:
        """Make what the run is remembered in, if it is not there yet."""
        _ = self.infos
        tables.ensure(self.target, self.options.state_table, self.report)

    def migration(self, back: bool | None = None, code: bool = True) -> Migration:
        """The run itself, from the table that is live to the other one, or as `back` says.

        Without `code` the transforms are not loaded, for what does not need them.
        """
        back = self.back if back is None else back
        clients = self._clients(back)
        job = self.job(back)
        return Migration(
            self.id,
            job.pairs,
            self.transforms if code else (),
            clients,
            self.options.state_table,
            self.report,
            self.settings,
            Machinery(wall=clients.state.clock),
            back=back,
            engine=self._engine,
            job=job,
            reopen=self._check_not_live,
        )

    def _check_decided(self) -> None:
        """Refuse to move data while a cutover is decided and not ended: nobody is called live."""
        if self._reader.step() == "OPEN":
            raise Refused(
                "a cutover was interrupted while it opened the new side: go on with "
                "`fearless data cutover ... --resume` (or rollback) first"
            )

    def _check_not_live(self) -> None:
        """Refuse to apply changes over what the applications write by now."""
        self._check_decided()
        if self._reader.live() == "target":
            raise Refused(
                f"{self.options.target} is live since the cutover: run the same command again, and "
                "it works the way back"
            )

    def sample(self, count: int, values: bool) -> Trial:
        """What the transforms would make of some items; nothing is written."""
        old, new = self.infos
        pipeline = Pipeline(self.name, new, self.transforms, old)
        client = self.source.wire
        trial = Trial(self.name, pipeline, values, partial(partition, client, old))
        return trial.run(some(client, old, count))

    def pause(self, why: str) -> None:
        """Let all workers of the run wait, wherever they are."""
        self._reader.pause(why)

    def resume(self) -> None:
        """Let them go on."""
        self._reader.resume()

    def status(self) -> Status:
        """What the rows say; a run that nobody began has phase `none`."""
        table = self.options.state_table
        if self.meta is None:
            nothing = summary({}, {}, [], 0.0)
            return {"run": self.id, "state_table": table, **nothing, "cutover": None, "back": None}
        return self._reader.read()

    @property
    def _reader(self) -> Reader:
        wire = self.target.wire
        return Reader(wire, self.options.state_table, self.id, wire.clock)

    def _clients(self, back: bool) -> Clients:
        source, target = (self.target, self.source) if back else (self.source, self.target)
        return Clients(source.wire, source.streams, target.wire, self.target.wire)

    @property
    def _engine(self) -> CopyEngine | None:
        name, processes = self.options.engine, self.options.processes
        if processes is not None and name != "processes":
            raise ConfigError(f"--processes is for --engine processes, not {name}")
        if name == "processes":
            from fearless.builtin.engines.processes import Processes

            return Processes(processes)
        if name == "celery":
            from fearless.builtin.engines.celery import Celery

            if not self.options.queue:
                raise ConfigError("--engine celery needs --queue, the SQS queue of its workers")
            cloud: Any = SimpleNamespace(client=self.target.client)
            return Celery(cloud, self.options.queue)
        return None

    @cached_property
    def settings(self) -> Settings:
        """How it is done."""
        near = self.source.near and self.target.near
        zombie = self.options.zombie
        return Settings(
            segments=self.options.segments,
            zombie=zombie if zombie is not None else 2.0 if near else 900.0,
            skew=2.0 if near else 300.0,
            poll=0.1 if near else 0.25,
            max_quarantine=self.options.max_quarantine,
            max_rate=self.options.max_rate,
            heartbeat=self.options.heartbeat,
        )

    def job(self, back: bool = False) -> Job:
        """For workers in other processes."""
        there = (self.source.endpoint, self.target.endpoint)
        source, target = reversed(there) if back else there
        names = [info.table for info in self.infos]
        if back:
            names.reverse()
        return Job(
            run=self.id,
            state_table=self.options.state_table,
            pairs=(Pair(self.name, *names),),
            settings=self.settings,
            source=source,
            target=target,
            state=self.target.endpoint,
            transforms=files.LOADER,
            arguments={"file": self._file},
            back=back,
            credentials={
                "source": (self.target if back else self.source).credentials,
                "target": (self.source if back else self.target).credentials,
                "state": self.target.credentials,
            },
        )

    @property
    def _file(self) -> str:
        given = self.options.transforms
        if not given and self._before is not None:
            return str(self._before.arguments.get("file", ""))
        return str(Path(given).absolute()) if given else ""
