"""What core and plugins exchange: frozen values, and one Protocol for each slot.

A provider is a class. Core builds it from the settings of its table in release.toml:
each parameter of `__init__` is a setting, except `project` and `cloud`, which core gives.
Every provider is idempotent: `find` returns None for what is absent and never raises for
absence, making twice is making once, and deleting tolerates "already gone".
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from fearless.data.items import Item
    from fearless.data.job import Job
    from fearless.data.unit import Crew

Kind = Literal["release", "dev"]


# --------------------------------------------------------------------------- values


@dataclass(frozen=True)
class Release:
    """A release is a SHA; every name derives from it. A dev stack is a branch at a SHA.

    `app` is `[app] name`; `sha` the full 40 hex digits; `name` what people call it
    (`20261123-4f2a9c1`: the commit's date and short SHA); `tag` the git tag;
    `stack_name` the CloudFormation stack. `branch` is set for `kind="dev"` only.
    """

    app: str
    sha: str
    name: str
    tag: str
    stack_name: str
    kind: Kind = "release"
    branch: str | None = None

    @property
    def short(self) -> str:
        """The first 7 digits of the SHA, as git prints them."""
        return self.sha[:7]

    def tags(self) -> dict[str, str]:
        """The tags everything made for this release carries (`fearless:app` and so on)."""
        tags = {
            "fearless:app": self.app,
            "fearless:kind": self.kind,
            "fearless:release": self.name,
            "fearless:sha": self.sha,
        }
        if self.branch:
            tags["fearless:branch"] = self.branch
        return tags


@dataclass(frozen=True)
class BuildContext:
    """What a container is built from: the files of one SHA, nothing untracked, no `.git`.

    `archive` is a tar file whose members are normalised (uid and gid 0, mode 644 or 755,
    mtime 0, sorted), so that equal files are equal bytes; `dockerfile` is a member's name.
    """

    archive: Path
    dockerfile: str = "Dockerfile"


@dataclass(frozen=True)
class Image:
    """A container image. `digest` names its manifest, `image_id` its config; both `sha256:...`.

    `source` says where the bytes are: `oci:/path/of/a/layout`, `docker:<image id>`, or
    `registry:<reference>`. Empty when only the name is known.
    """

    repository: str
    tag: str
    digest: str
    image_id: str
    source: str = ""

    @property
    def reference(self) -> str:
        """`repository@sha256:...`: the only form anything is deployed by."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Login:
    """How a Docker engine signs in at a registry: for its API, never for a command line."""

    server: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class MachineImage:
    """A bootable machine with every container image inside. `inputs` hashes what it was made of."""

    id: str
    sha: str
    images: tuple[Image, ...]
    inputs: str


@dataclass(frozen=True)
class TableSpec:
    """A table as `[tables.<name>]` in release.toml declares it. Key types are S, N or B.

    `ttl` is the attribute that says when an item expires. It is switched on when the stack goes
    live: before that, the copy would lose items that the live table still has.
    """

    name: str
    hash_key: str
    range_key: str | None = None
    hash_type: str = "S"
    range_type: str = "S"
    ttl: str | None = None

    @property
    def logical_id(self) -> str:
        """Its name in the template: `order_lines` -> `OrderLines`."""
        return "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", self.name))

    @property
    def env(self) -> str:
        """The variable an instance finds the physical table name in: `TABLE_ORDER_LINES`."""
        return "TABLE_" + re.sub(r"[^A-Za-z0-9]+", "_", self.name).upper()


@dataclass(frozen=True)
class Stack:
    """A stack as the cloud reports it. Deleted and followed by `id`, never by name alone.

    Outputs every template gives: `LoadBalancerDNS`, `LoadBalancerZone`, `ListenerPort`,
    `TargetGroup`, `AutoScalingGroup`, `AppRole` (a role name), `StateTable`, and
    `Table<LogicalId>` with the physical name of each declared table.
    """

    name: str
    id: str
    status: str
    kind: str
    release: str
    sha: str
    created: datetime
    outputs: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """True when it was created and nothing is in progress."""
        return self.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")

    def table(self, spec: TableSpec) -> str:
        """The physical name of a declared table in this stack."""
        return self.outputs[f"Table{spec.logical_id}"]


Up = Callable[["Item"], "Item | Iterable[Item] | None"]


@dataclass(frozen=True)
class Transform:
    """One data migration, applied to every item of `tables` during copy and sync alike.

    `up(item)` returns the item changed, None to drop it, or several items. It must be pure:
    no clock, no random, no network. `kind` is the contract checked on every item:

    `keep-key`: 0 or 1 item with the key values of the source item (names may change).
    `owned`: 0 to N items; `owner(key)` gets the key attributes of an output, and returns
    those of the source item it came from.
    `transferable`: 0 to N items whose keys may pass from one source item to another.
    Fearless adds `owner_attribute` to every output: a map of the source item's key.
    `collection`: many to one, without `up`: `group(item)` names the group of an item
    ("" drops it), `merge(items)` turns all items of a group into 0 to N items. Members of
    a group share their hash key, and so do the items made of them.

    `down` leads back, for a rollback after the new release wrote data. keep-key:
    `down(item, old)`; owned: `down(items, old)` with all items of one source item, in the
    order of their keys. `old` is the item as the old release has it, or None; the answer is
    the item to have there, or None for none. An owned transform with `down` keeps the hash
    key, and `prefix(key)` may say what the range keys of all outputs of a source key begin
    with, so that fewer items are read. `irreversible` says why there is no way back.
    """

    name: str
    tables: tuple[str, ...]
    up: Up | None = None
    kind: Literal["keep-key", "owned", "transferable", "collection"] = "keep-key"
    owner: Callable[[Item], Item] | None = None
    down: Callable[[Any, Item | None], Item | None] | None = None
    irreversible: str = ""
    prefix: Callable[[Item], str] | None = None
    owner_attribute: str = ""
    group: Callable[[Item], str] | None = None
    merge: Callable[[list[Item]], Item | Iterable[Item] | None] | None = None

    @property
    def function(self) -> Callable[..., Any]:
        """What makes the new items: `up`, or `merge` of a collection. Raises ValueError."""
        function = self.up or self.merge
        if function is None:
            raise ValueError(f"transform {self.name!r} has no function")
        return function

    @property
    def digest(self) -> str:
        """A hash of the name and the whole file that defines `up`: pinned while data moves."""
        function = plain_function(self.function)
        code = getattr(function, "__code__", None)
        if code is None:
            module = getattr(function, "__module__", "")
            content = f"{module}.{getattr(function, '__qualname__', type(function))}".encode()
        else:
            path = Path(code.co_filename)
            content = path.read_bytes() if path.is_file() else code.co_code
        return hashlib.sha256(self.name.encode() + b"\0" + content).hexdigest()[:16]

    @property
    def source_digest(self) -> str:
        """A hash of the source of `up` alone; `digest` where Python cannot tell it."""
        try:
            source = inspect.getsource(plain_function(self.function))
        except (OSError, TypeError):
            return self.digest
        return hashlib.sha256(source.encode()).hexdigest()[:16]


def plain_function(up: Any) -> Any:
    """The function that somebody wrote: inside of `functools.partial`, decorators and objects."""
    while isinstance(up, functools.partial):
        up = up.func
    up = inspect.unwrap(up)
    if hasattr(up, "__code__") or isinstance(up, type):
        return up
    call = inspect.unwrap(type(up).__call__)
    return call if hasattr(call, "__code__") else up


@dataclass(frozen=True)
class DataRun:
    """One migration of one live stack's tables into one candidate's: what to move and how.

    `id` names the run (one per target stack id). `tables` are those both stacks have.
    `transforms` are the ones the source's data has not been through yet, in order.

    `back` is the way back of the same run, with the same id, tables and transforms: `source` is
    the stack that it filled and that is live now, `target` the one it was filled from. It
    carries what was written since the `turn`, through the transforms' `down`.
    """

    id: str
    source: Stack
    target: Stack
    tables: tuple[TableSpec, ...]
    transforms: tuple[Transform, ...]
    back: bool = False


@dataclass(frozen=True)
class DataState:
    """What a data run has done so far. Counts are of source items, except `written`.

    `phase` is `none`, `copying`, `replay` (copied; changes are being applied) or `broken`
    (the stream has a gap: `reason` says what and what to do). `lag` is in seconds, None when
    nothing has been read yet. `quarantined` leaves out what was waived. `suspects` wait for a
    dead worker's last requests, until `suspects_due` at most (Unix time), and `follow` makes
    them sure then; `one_way` says why there is no way back, empty when there is one.

    Of the way back, the phase is `none` before the `turn`, and `replay` after it.
    """

    phase: Literal["none", "copying", "replay", "broken"] = "none"
    read: int = 0
    written: int = 0
    dropped: int = 0
    quarantined: int = 0
    changed: int = 0
    applied: int = 0
    lag: float | None = None
    reason: str = ""
    suspects: int = 0
    one_way: str = ""
    suspects_due: float = 0.0


@dataclass(frozen=True)
class Sample:
    """A dry run of one table's transforms over some of its items; nothing was written.

    `failed` items could not be migrated, and of `not_back` the way back does not give the item
    there was. `lines` is the report for people, before and after; `facts` is it for programs.
    """

    table: str
    read: int
    failed: int = 0
    not_back: int = 0
    lines: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The result of comparing the target with T(source): equal only if all three are empty."""

    compared: int
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """True when the target is exactly T(source), benign classes aside."""
        return not (self.missing or self.extra or self.different)


@dataclass(frozen=True)
class Candidate:
    """What a gate looks at: a stack that is up, its own URL, and how to ask about its data."""

    release: Release
    stack: Stack
    url: str
    get: Callable[[str], tuple[int, bytes]]
    post: Callable[[str, Mapping[str, Any]], tuple[int, bytes]]


@dataclass(frozen=True)
class Gate:
    """A check that must pass before DNS moves.

    `check(candidate)` returns one line of evidence, or raises `GateFailed` with the reason.
    """

    name: str
    check: Callable[[Candidate], str]


@dataclass(frozen=True)
class Event:
    """Something a team may want to hear of: `kind` is `step_done`, `step_failed` or `live`."""

    kind: str
    release: Release
    message: str
    at: datetime


class Report(Protocol):
    """Where a long step says how far it is. Rate limits and terminals are its own business."""

    def line(self, text: str) -> None:
        """One line worth keeping in a log."""

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """`done` of `total` (None = not known); cheap enough to call for every page."""


# ----------------------------------------------------------------- one Protocol per slot


@runtime_checkable
class Cloud(Protocol):
    """The AWS endpoint everything talks to. `aws` is AWS itself; `local` the embedded cloud."""

    region: str

    def ensure(self, report: Report) -> None:
        """Make the cloud answer (the embedded one is started and seeded), or raise."""

    def running(self) -> bool:
        """True when it answers now. Never starts anything."""

    def client(self, service: str) -> Any:
        """A boto3 client, cached."""

    def credentials(self) -> Any:
        """What those clients sign with: an object with botocore's `get_frozen_credentials()`,
        which renews them when they are about to expire. Raises NotAuthorised without any."""

    def parameters(self, stack_name: str) -> dict[str, str]:
        """Template parameters that only this cloud sets for a stack of that name."""

    def url(self, host: str, port: int) -> str:
        """The base URL at which a load balancer's DNS name answers from this machine."""

    def public_url(self, name: str) -> str:
        """The base URL users reach the DNS record `name` by."""


@runtime_checkable
class ContainerBuilder(Protocol):
    """Builds the container image of a release."""

    def build(self, release: Release, context: BuildContext, report: Report) -> Image:
        """Build it; stream the output through `report`; raise FearlessError when it fails."""


@runtime_checkable
class Registry(Protocol):
    """Keeps container images by tag and digest."""

    def find(self, release: Release) -> Image | None:
        """The image tagged with the release's SHA."""

    def push(self, image: Image) -> Image:
        """Store it under its tag; refuse when that tag holds another digest."""

    def pull(self, image: Image, into: Path) -> Path:
        """Write it as an OCI image layout into the directory `into`; return `into`."""

    def list(self) -> Sequence[Image]:
        """Every tagged image of this app."""

    def delete(self, image: Image) -> None:
        """Remove the tag, and the bytes nothing else uses."""


@runtime_checkable
class RemoteRegistry(Protocol):
    """A registry that a Docker engine reaches by itself, so that layers travel once."""

    def name(self, app: str, tag: str) -> str:
        """What an engine calls the image: `registry.example.com/shop:tag`."""

    def login(self) -> Login | None:
        """How an engine signs in now, renewed when it is about to expire; None: it need not."""

    def alias(self, image: Image, tag: str) -> None:
        """Make a tag that may move (`branch-*`, `cache-*`) name an image that was pushed."""


@runtime_checkable
class AmiBaker(Protocol):
    """Bakes the machine image, with every container image inside."""

    def find(self, release: Release) -> MachineImage | None:
        """The machine image of that SHA."""

    def list(self, app: str) -> Sequence[MachineImage]:
        """Every machine image of that app."""

    def bake(self, release: Release, images: Sequence[Image], report: Report) -> MachineImage:
        """Make it. Equal inputs give the machine image there already is."""

    def discard(self, image: MachineImage) -> None:
        """Delete it and everything it is stored in."""


@runtime_checkable
class BootTest(Protocol):
    """A baker that can prove that a machine image starts with nothing from outside.

    Its `find` does not know a machine image before that was proven, so that a run that is killed
    in between cannot use it; `bake` gives it again, and it is tested then.
    """

    def boot_test(self, release: Release, image: MachineImage, report: Report) -> str:
        """Start an instance without any network and ask its health check; one line of evidence.

        Raises BootFailed saying what it did instead of answering, and FearlessError when there
        is nothing to be learned about the image, because no instance could be started. Whatever
        it started is gone afterwards.
        """


@runtime_checkable
class Provisioner(Protocol):
    """Creates and deletes stacks."""

    def find(self, name: str) -> Stack | None:
        """The stack of that name that is not deleted, whatever its status."""

    def create(
        self, release: Release, template: str, parameters: Mapping[str, str], report: Report
    ) -> Stack:
        """Create it and follow its events; raise with the first failed resource's reason."""

    def delete(self, stack: Stack, report: Report) -> None:
        """Delete exactly the stack of that id, and wait until it is gone."""

    def list(self, app: str) -> Sequence[Stack]:
        """Every stack of ours for that app, by its tags, oldest first."""


@runtime_checkable
class DataStore(Protocol):
    """Copies, migrates, follows and verifies data, and decides which stack may write it."""

    def state(self, run: DataRun) -> DataState:
        """What the run has done so far."""

    def copy(self, run: DataRun, report: Report) -> DataState:
        """Copy and migrate everything up to the barrier; resumes where it stopped."""

    def follow(self, run: DataRun, report: Report) -> DataState:
        """Apply what the source changed, until caught up."""

    def verified(self, run: DataRun) -> bool:
        """Whether this process found everything equal, and knows what changed since."""

    def verify(self, run: DataRun, report: Report, still: bool = False) -> Verdict:
        """Compare the target with T(source), both being written or not.

        `still`: the source is fenced and drained. When `verified`, only what changed since needs
        a look, which is what keeps the pause of writes short.
        """

    def repair(self, run: DataRun, report: Report) -> Verdict:
        """Make every item that differs, and every quarantined one, T(source) again; verify."""

    def quarantine(self, run: DataRun) -> Sequence[Mapping[str, Any]]:
        """The items that could not be migrated and are not waived.

        Each has `table`, `key` (typed), `transform`, `error`, `message`, `where`.
        """

    def retry(self, run: DataRun, report: Report) -> DataState:
        """Migrate what is in quarantine once more."""

    def waive(self, run: DataRun, table: str, key: Mapping[str, Any], reason: str) -> None:
        """Accept that one quarantined item is not migrated. Refuses one that is not in there."""

    def sample(self, run: DataRun, count: int, report: Report) -> Sequence[Sample]:
        """Try the transforms on `count` items a table, writing nothing; for tables that have any.

        Before there is a stack to fill, `run.target` is `run.source`.
        """

    def turn(self, run: DataRun, report: Report) -> None:
        """With source and target fenced and equal: fix where the way back starts.

        Called again, it is fixed anew: a cutover that was undone is begun again, and until then
        the run goes on as before. Only what is written after it is carried back. Refuses when
        one of them may be written.
        """

    def drain(self, run: DataRun, report: Report) -> DataState:
        """With the source fenced: apply every change up to the fence, proven by sentinels."""

    def writable(self, stack: Stack) -> bool:
        """Whether the stack's applications may write its tables now."""

    def open(self, stack: Stack) -> None:
        """Let the stack's applications write."""

    def fence(self, stack: Stack, seconds: float | None) -> None:
        """Stop the stack's applications from writing: for so long, or for good (None)."""

    def unfence(self, stack: Stack) -> None:
        """Undo a fence that was not for good."""

    def confirm_fence(self, stack: Stack, report: Report) -> None:
        """Try to write as the application until it is denied for sure; raise if it is not."""

    def forget(self, stack: Stack) -> None:
        """Remove what open, fence and runs left outside the template, before it is deleted."""


@runtime_checkable
class CopyEngine(Protocol):
    """Performs the units of work of a data run: each at least once, anywhere, in any order."""

    def crew(self, job: Job, report: Report) -> Crew:
        """Workers for the job, while in a `with` block; nothing is hired before it is entered.

        `crew.offer(units)` gets each unit performed at least once, soon, and raises what a worker
        failed with, if that is known. A unit is about 100 bytes, takes a minute at most, and may
        be lost, late or done twice: the run's rows are the truth, and what they still lack is
        offered again. On leaving the block workers finish what they have begun; nothing runs
        afterwards.
        """


@runtime_checkable
class Journal(Protocol):
    """A data store that can also tell what was written, for people to put right by hand."""

    def writes(self, run: DataRun, report: Report) -> Iterator[Mapping[str, Any]]:
        """Every write to the source of a run `back` since its `turn`, in order for each item.

        Each has `table`, `at` (Unix time), and `old` and `new` (typed items, None when there
        was or is none). With the source fenced, none is left out, but for those that nobody
        knows any more: one entry for each table with such has `table` and `missing`, which
        says what.
        """


@runtime_checkable
class DnsProvider(Protocol):
    """Points the app's name at one stack."""

    def current(self) -> str | None:
        """The load balancer DNS name the record points at now, lower case, no final dot."""

    def point(self, target: Stack, expected: str | None) -> None:
        """Move the record if it still points at `expected`; return when it is answered."""


@runtime_checkable
class Deployer(Protocol):
    """Puts another container image onto a running dev stack."""

    def deployed(self, stack: Stack) -> str | None:
        """The image reference the stack was last told to run, if any."""

    def deploy(self, release: Release, stack: Stack, image: Image, report: Report) -> None:
        """Replace the container everywhere in the stack; return when all of them are healthy."""

    def forget(self, stack: Stack) -> None:
        """Remove what was kept for the stack outside it."""


@runtime_checkable
class SecretStore(Protocol):
    """Looks secrets up by name."""

    def get(self, name: str) -> str:
        """The secret; raises FearlessError when there is none of that name."""
