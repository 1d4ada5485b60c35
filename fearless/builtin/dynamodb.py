"""Copy, follow, verify and fence the data of stacks whose tables are in DynamoDB."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fearless.builtin.aws import explained
from fearless.builtin.fencing import Fence, table_names
from fearless.errors import FearlessError, Refused
from fearless.interfaces import (
    Cloud,
    DataRun,
    DataState,
    Late,
    Report,
    Sample,
    Stack,
    Transform,
    Verdict,
)

if TYPE_CHECKING:
    from fearless.data.engine import Migration
    from fearless.data.job import Clients, Engine, Job, Pair
    from fearless.data.wire import Service, Wire

CONNECT_TIMEOUT = 2
READ_TIMEOUT = 10
MAX_SKEW = 60.0
"""Seconds that this machine's clock may differ from the service's."""


class DynamoDB:
    """The data store of stacks in one account and region.

    `segments` is how many scans and threads work at once. `zombie_seconds` is how long a
    request that was sent may still land after its sender died; nothing is written for so long
    after another process is taken over (900 on AWS, where signatures live that long, and 2 when
    the endpoint is on this machine). More than `max_quarantine` items that cannot be migrated
    stop a copy. A fence counts once `confirm_attempts` writes, over `confirm_seconds`, were
    denied. `drain_seconds` is how long a drain may take. `max_rate` is how many items a second
    may be written at most. With fewer items than `inline_below` this process does the work
    itself, without the copy engine.
    """

    def __init__(
        self,
        cloud: Cloud,
        segments: int = 4,
        zombie_seconds: float | None = None,
        max_quarantine: int = 1000,
        lease_seconds: float = 40.0,
        drain_seconds: float = 60.0,
        confirm_attempts: int | None = None,
        confirm_seconds: float | None = None,
        max_rate: float | None = None,
        inline_below: int = 100_000,
        project: Any = None,
    ) -> None:
        self._cloud = cloud
        self._project = project
        self._segments = segments
        self._zombie = zombie_seconds
        self._max_quarantine = max_quarantine
        self._lease = lease_seconds
        self._drain = drain_seconds
        self._attempts = confirm_attempts
        self._seconds = confirm_seconds
        self._max_rate = max_rate
        self._inline_below = inline_below

    # ------------------------------------------------------------------ data

    def state(self, run: DataRun) -> DataState:
        """What the run has done so far, and whether it can go on from there."""
        return self._migration(run, _Nobody()).state()

    def copy(self, run: DataRun, report: Report) -> DataState:
        """Copy and migrate everything up to the barrier; a broken run is copied again."""
        migration = self._migration(run, report)
        state = migration.state()
        if state.phase == "replay":
            return state
        self._check_closed(run)
        self._check_clock()
        return migration.copy()

    def follow(self, run: DataRun, report: Report) -> DataState:
        """Apply what the source changed, until caught up; after a recopy also repair."""
        self._check_closed(run)
        return self._migration(run, report).follow()

    def verified(self, run: DataRun) -> bool:
        """Whether everything was proven equal lately, and what changed since is known."""
        return self._migration(run, _Nobody()).verified

    def verify(self, run: DataRun, report: Report, still: bool = False) -> Verdict:
        """Compare the target with T(source); only what changed since `verified` when `still`."""
        self._check_closed(run)
        return self._migration(run, report).verify(still)

    def drain(self, run: DataRun, report: Report) -> DataState:
        """With the source fenced: apply every change, proven by sentinels. Raises if it is not."""
        if self.writable(run.source):
            raise Refused(f"{run.source.name} can be written: fence it before draining it")
        self._check_closed(run)
        return self._migration(run, report).drain()

    def repair(self, run: DataRun, report: Report) -> Verdict:
        """Make every item that differs, and every quarantined one, right again; verify."""
        self._check_closed(run)
        return self._migration(run, report).repair()

    def quarantine(self, run: DataRun) -> Sequence[dict[str, Any]]:
        """The items that could not be migrated, and were not waived."""
        return [row for row in self._migration(run, _Nobody()).quarantine() if not row["waived"]]

    def retry(self, run: DataRun, report: Report) -> DataState:
        """Migrate what is in quarantine once more."""
        self._check_closed(run)
        migration = self._migration(run, report)
        migration.retry()
        return migration.state()

    def waive(self, run: DataRun, table: str, key: Mapping[str, Any], reason: str) -> None:
        """Accept that one quarantined item is not migrated. Refuses one that is not in there."""
        if not self._migration(run, _Nobody()).waive(table, dict(key), reason):
            raise Refused(
                f"table {table} has no such item in quarantine; `doit quarantine` lists them"
            )

    def turn(self, run: DataRun, report: Report) -> None:
        """With both stacks fenced and equal: fix where the way back starts."""
        if self.writable(run.source):
            raise Refused(f"{run.source.name} can be written: fence it before turning round")
        self._check_closed(run)
        self._migration(run, report).turn()

    def late(self, run: DataRun, report: Report) -> Late:
        """What reached the old stack's tables after its fence; see `LateWrites`."""
        if self.writable(run.source):
            raise Refused(f"{run.source.name} can be written, so nothing in it is late")
        return self._migration(run, report).late()

    def backup(self, stack: Stack, report: Report) -> Sequence[str]:
        """On-demand backups of every table of the stack, complete; their ARNs. See `Backups`."""
        from fearless.builtin.backup import back_up

        return back_up(self._cloud.client("dynamodb"), table_names(stack), report)

    def sample(self, run: DataRun, count: int, report: Report) -> Sequence[Sample]:
        """Try the transforms on some items of each table that has any, writing nothing."""
        from fearless.data.dry import dry_run

        return dry_run(self._clients, _pairs(run), run.transforms, count, report)

    def writes(self, run: DataRun, report: Report) -> Iterator[Mapping[str, Any]]:
        """Every write to the live stack since the turn, oldest first; see `Journal`."""
        from fearless.data.journal import journal
        from fearless.data.machinery import Machinery
        from fearless.data.state import StateTable
        from fearless.data.worker import run_key

        job, clients = self._job(run), self._clients
        state = StateTable(clients.state, job.state_table, run_key(run.id, run.back))
        kit = Machinery(wall=clients.state.clock)
        yield from journal(clients, state, job.pairs, job.settings, kit)

    # ------------------------------------------------------------------ rights

    def writable(self, stack: Stack) -> bool:
        """Whether the stack's applications may write its tables now."""
        return self._fence.writable(stack)

    def open(self, stack: Stack) -> None:
        """Let the stack's applications write, and let items expire where that was declared."""
        self._fence.open(stack)
        self._expire(stack)

    def fence(self, stack: Stack, seconds: float | None) -> None:
        """Stop them from writing: for so long, or for good (None)."""
        self._fence.fence(stack, seconds)

    def unfence(self, stack: Stack) -> None:
        """Undo a fence that was not for good."""
        self._fence.unfence(stack)

    def confirm_fence(self, stack: Stack, report: Report) -> None:
        """Try to write as the application until it is denied for sure; raise if it is not."""
        self._fence.confirm(stack, report)

    def forget(self, stack: Stack) -> None:
        """Remove the policies this added to the stack's role. The state goes with the stack."""
        self._fence.forget(stack)

    def _expire(self, stack: Stack) -> None:
        client = self._cloud.client("dynamodb")
        for spec in self._project.tables if self._project is not None else ():
            if spec.ttl is None or f"Table{spec.logical_id}" not in stack.outputs:
                continue
            table = _table(stack, spec.logical_id)
            with explained(f"switching TTL on for {table}"):
                found = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
                if found.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
                    wanted = {"Enabled": True, "AttributeName": spec.ttl}
                    client.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)

    # ------------------------------------------------------------------ parts

    def _check_closed(self, run: DataRun) -> None:
        if self.writable(run.target):
            raise Refused(
                f"the applications of {run.target.name} may write it: changes of "
                f"{run.source.name} must not be applied over what they write"
            )

    def _check_clock(self) -> None:
        """Refuse to work on a machine whose clock is far from the service's, once that is known."""
        skew = time.time() - self._clients.state.clock()
        if abs(skew) > MAX_SKEW:
            raise Refused(
                f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} "
                f"that of DynamoDB, and {MAX_SKEW:.0f} s is the limit: set it (`timedatectl "
                "set-ntp true`)"
            )

    def _migration(self, run: DataRun, report: Report) -> Migration:
        from fearless.data.engine import Migration
        from fearless.data.machinery import Machinery

        clients = self._clients
        job = self._job(run)
        return Migration(
            run.id,
            job.pairs,
            run.transforms,
            clients,
            job.state_table,
            report,
            job.settings,
            Machinery(wall=clients.state.clock),
            back=run.back,
            engine=self._engine(run),
            job=job,
            reopen=lambda: self._check_closed(run),
        )

    def _job(self, run: DataRun) -> Job:
        from fearless.data.job import Endpoint, Job
        from fearless.data.settings import Settings

        pairs = _pairs(run)
        here = Endpoint(
            self._url("dynamodb"), self._cloud.region, self._url("dynamodbstreams"), None
        )
        held = run.source if run.back else run.target
        return Job(
            run=run.id,
            state_table=_output(held, "StateTable"),
            pairs=pairs,
            settings=Settings(
                segments=self._segments,
                zombie=self._zombie if self._zombie is not None else 2.0 if self._near else 900.0,
                lease=self._lease,
                max_quarantine=self._max_quarantine,
                max_rate=self._max_rate,
                drain=self._drain,
                skew=2.0 if self._near else 300.0,
                poll=0.1 if self._near else 0.25,
            ),
            source=here,
            target=here,
            state=here,
            transforms="fearless.builtin.dynamodb:transforms_of",
            arguments=self._arguments(run, held),
            back=run.back,
            credentials=dict.fromkeys(("source", "target", "state"), self._cloud.credentials()),
        )

    def _arguments(self, run: DataRun, held: Stack) -> dict[str, Any]:
        """What `transforms_of` needs, in a worker, to find the transforms of the run."""
        if self._project is None:
            return {}
        return {
            "root": str(self._project.root),
            "ops": str(self._project.ops),
            "release": [
                self._project.app.name,
                held.sha,
                held.release,
                held.tags.get("fearless:tag", held.release),
                held.name,
                held.kind,
                held.tags.get("fearless:branch"),
            ],
            "names": [transform.name for transform in run.transforms],
        }

    def _engine(self, run: DataRun) -> Engine | None:
        """Where the work is done; None for this process, which is quicker for little."""
        if self._project is None:
            return None
        client = self._cloud.client("dynamodb")
        names = [_table(run.source, spec.logical_id) for spec in run.tables]
        items = sum(
            int(client.describe_table(TableName=name)["Table"].get("ItemCount") or 0)
            for name in names
        )
        engine: Engine = self._project.engine
        return engine if items >= self._inline_below else None

    @cached_property
    def _near(self) -> bool:
        """True when the cloud is an emulator on this machine's loopback."""
        host = urlsplit(self._url("dynamodb")).hostname or ""
        return host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost")

    def _url(self, service: str) -> str:
        return str(self._cloud.client(service).meta.endpoint_url)

    @cached_property
    def _clients(self) -> Clients:
        """Clients that never send a request twice by themselves."""
        from fearless.data.job import Clients

        data = self._wire("dynamodb")
        return Clients(data, self._wire("streams"), data, data)

    def _wire(self, service: Service, credentials: Any = None) -> Wire:
        from fearless.data.wire import Wire

        return Wire(
            service,
            self._url("dynamodb" if service == "dynamodb" else "dynamodbstreams"),
            self._cloud.region,
            credentials or self._cloud.credentials(),
            connect=CONNECT_TIMEOUT,
            read=READ_TIMEOUT,
            pool=max(10, 4 * self._segments),
        )

    @cached_property
    def _fence(self) -> Fence:
        attempts = self._attempts or (5 if self._near else 20)
        seconds = self._seconds if self._seconds is not None else 0.5 if self._near else 10.0
        return Fence(self._cloud.client, self._as_role, attempts, seconds)

    def _as_role(self, credentials: Any) -> Any:
        from botocore.credentials import Credentials

        keys = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        return self._wire("dynamodb", Credentials(*(credentials[key] for key in keys)))


def transforms_of(
    root: str, ops: str, release: Sequence[Any], names: Sequence[str]
) -> Sequence[Transform]:
    """The transforms of a run, in a worker's process: the project's plugins are loaded anew."""
    from fearless.interfaces import Release
    from fearless.project import Project, transforms

    found = {t.name: t for t in transforms(Project(Path(root), ops=Path(ops)), Release(*release))}
    missing = [name for name in names if name not in found]
    if missing:
        raise FearlessError(f"a worker finds no transform {missing[0]!r} in {ops}/plugins")
    return tuple(found[name] for name in names)


class _Nobody:
    """A report nobody reads."""

    def line(self, text: str) -> None:
        """Nothing."""

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Nothing."""


def _output(stack: Stack, name: str) -> str:
    if name not in stack.outputs:
        raise FearlessError(
            f"stack {stack.name} has no output {name!r} (it has: "
            f"{', '.join(sorted(stack.outputs)) or 'none'}): its template must give one"
        )
    return stack.outputs[name]


def _pairs(run: DataRun) -> tuple[Pair, ...]:
    from fearless.data.job import Pair

    return tuple(
        Pair(spec.name, _table(run.source, spec.logical_id), _table(run.target, spec.logical_id))
        for spec in run.tables
    )


def _table(stack: Stack, logical_id: str) -> str:
    return _output(stack, f"Table{logical_id}")
