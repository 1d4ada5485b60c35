"""What a provider may do beyond its slot: core asks with isinstance, and does without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fearless.interfaces.data import DataRun, Late
from fearless.interfaces.values import (
    Image,
    Login,
    MachineImage,
    Release,
    Report,
    Stack,
    StoredImage,
)

if TYPE_CHECKING:
    pass


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
class Inventory(Protocol):
    """A registry that knows more of its images than what they are called."""

    def stored(self) -> Sequence[StoredImage]:
        """The images of `list`, in the same order, with their size and age."""

    def deviations(self) -> Sequence[str]:
        """What about the registry is not as Fearless would have it, a line for each."""


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
class LateWrites(Protocol):
    """A data store that reads on what reaches the old stack although it was fenced."""

    def late(self, run: DataRun, report: Report) -> Late:
        """What was written to `run.source` since the cutover to `run.target`, or the last look.

        Streams keep a day: who looks less often than that learns of it as an error.
        """


@runtime_checkable
class Backups(Protocol):
    """A data store that can keep a stack's data beyond the stack."""

    def backup(self, stack: Stack, report: Report) -> Sequence[str]:
        """Back up every table, and return when all are complete; their ids. Again is the same."""


@runtime_checkable
class Requests(Protocol):
    """A cloud that counts what a stack's load balancer was asked."""

    def requests(self, stack: Stack, seconds: float) -> int:
        """The requests of the last `seconds`, health checks not counted."""


@runtime_checkable
class Records(Protocol):
    """A DNS provider that can tell every name of its zone that leads to a stack."""

    def names(self, target: Stack) -> Sequence[str]:
        """Every name that points at the stack's load balancer, sorted."""
