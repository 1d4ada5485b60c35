"""One Protocol for each slot: what its provider must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fearless.interfaces.data import DataRun, DataState, Sample, Verdict
from fearless.interfaces.values import (
    BuildContext,
    Image,
    MachineImage,
    Release,
    Report,
    Stack,
)

if TYPE_CHECKING:
    from fearless.data.job import Job
    from fearless.data.unit import Crew


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
        """Every tagged image; other apps' too, where they share it: `repository` says whose."""

    def delete(self, image: Image) -> None:
        """Remove the tag, and the bytes nothing else uses."""


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
