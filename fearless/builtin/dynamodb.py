"""Copy, follow, verify and fence the data of stacks whose tables are in DynamoDB."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fearless.builtin.fencing import Fence
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Cloud, DataRun, DataState, Report, Stack, Verdict

if TYPE_CHECKING:
    from fearless.data.changes import Changes
    from fearless.data.engine import Migration

CONNECT_TIMEOUT = 2
READ_TIMEOUT = 10


class DynamoDB:
    """The data store of stacks in one account and region.

    `segments` is how many scans and threads work at once. `zombie_seconds` is how long a
    request that was sent may still land after its sender died; nothing is written for so long
    after another process is taken over (900 on AWS, where signatures live that long, and 2 when
    the endpoint is on this machine). More than `max_quarantine` items that cannot be migrated
    stop a copy. A fence counts once `confirm_attempts` writes, over `confirm_seconds`, were
    denied. `drain_seconds` is how long a drain may take.
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
    ) -> None:
        self._cloud = cloud
        self._segments = segments
        self._zombie = zombie_seconds
        self._max_quarantine = max_quarantine
        self._lease = lease_seconds
        self._drain = drain_seconds
        self._attempts = confirm_attempts
        self._seconds = confirm_seconds
        self._changes: dict[str, Changes] = {}

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
        return migration.copy()

    def follow(self, run: DataRun, report: Report) -> DataState:
        """Apply what the source changed, until caught up; after a recopy also repair."""
        self._check_closed(run)
        return self._migration(run, report).follow()

    def verified(self, run: DataRun) -> bool:
        """Whether this process proved everything equal and knows what changed since."""
        return run.id in self._changes and self._changes[run.id].known

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
        """The items that could not be migrated: key, transform, error, message, where."""
        return self._migration(run, _Nobody()).quarantine()

    # ------------------------------------------------------------------ rights

    def writable(self, stack: Stack) -> bool:
        """Whether the stack's applications may write its tables now."""
        return self._fence.writable(stack)

    def open(self, stack: Stack) -> None:
        """Let the stack's applications write."""
        self._fence.open(stack)

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

    # ------------------------------------------------------------------ parts

    def _check_closed(self, run: DataRun) -> None:
        if self.writable(run.target):
            raise Refused(
                f"the applications of {run.target.name} may write it: changes of "
                f"{run.source.name} must not be applied over what they write"
            )

    def _migration(self, run: DataRun, report: Report) -> Migration:
        from fearless.data.changes import Changes
        from fearless.data.context import Settings
        from fearless.data.engine import Clients, Migration, Pair

        client, streams = self._clients
        pairs = [
            Pair(
                spec.name, _table(run.source, spec.logical_id), _table(run.target, spec.logical_id)
            )
            for spec in run.tables
        ]
        settings = Settings(
            segments=self._segments,
            zombie=self._zombie if self._zombie is not None else 2.0 if self._near else 900.0,
            lease=self._lease,
            max_quarantine=self._max_quarantine,
            drain=self._drain,
            skew=2.0 if self._near else 300.0,
            poll=0.1 if self._near else 0.25,
        )
        return Migration(
            run.id,
            pairs,
            run.transforms,
            Clients(client, streams, client, client),
            _output(run.target, "StateTable"),
            report,
            settings,
            changes=self._changes.setdefault(run.id, Changes()),
        )

    @cached_property
    def _near(self) -> bool:
        """True when the cloud is an emulator on this machine's loopback."""
        host = urlsplit(self._cloud.client("dynamodb").meta.endpoint_url).hostname or ""
        return host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost")

    @cached_property
    def _clients(self) -> tuple[Any, Any]:
        """Clients that never send a request twice by themselves."""
        return self._own("dynamodb"), self._own("dynamodbstreams")

    def _own(self, service: str, **credentials: str) -> Any:
        from boto3 import Session
        from botocore.config import Config
        from botocore.session import Session as Core

        model, core = self._cloud.client(service), Core()
        vars(core)["_credentials"] = model._request_signer._credentials
        make: Any = Session(botocore_session=core).client
        return make(
            service,
            endpoint_url=model.meta.endpoint_url,
            region_name=model.meta.region_name,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"mode": "standard", "total_max_attempts": 1},
                parameter_validation=False,
                max_pool_connections=max(10, 4 * self._segments),
                account_id_endpoint_mode="disabled",
            ),
            **credentials,
        )

    @cached_property
    def _fence(self) -> Fence:
        attempts = self._attempts or (5 if self._near else 20)
        seconds = self._seconds if self._seconds is not None else 0.5 if self._near else 10.0
        return Fence(self._cloud.client, self._as_role, attempts, seconds)

    def _as_role(self, credentials: Any) -> Any:
        return self._own(
            "dynamodb",
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )


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


def _table(stack: Stack, logical_id: str) -> str:
    return _output(stack, f"Table{logical_id}")
