"""What the transforms make of one item, or of a page of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fearless.data.tables import Typed


@dataclass(frozen=True)
class Failure:
    """Why an item could not be migrated. Holds no values of the item."""

    transform: str
    error: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.transform}: {self.error}: {self.message}{place}"


class Failed(Exception):
    """A transform failed; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(frozen=True)
class Outcome:
    """T(item): typed outputs by key identity, or the failure."""

    outputs: Mapping[bytes, Typed]
    failure: Failure | None = None


NOTHING = Outcome({})


@dataclass
class Page:
    """A page of items migrated by keep-key transforms: each item is in exactly one place.

    `puts` are to be written, of which `changed` differ from their source items; `dropped` is
    how many are not wanted any more; `failures` are source items with the reason.
    """

    puts: list[Typed]
    dropped: int = 0
    changed: int = 0
    failures: list[tuple[Typed, Failure]] = field(default_factory=list)
