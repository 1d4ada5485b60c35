"""A piece of work that any worker may do, any number of times: a segment, a shard, a digest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal, Protocol

Kind = Literal["copy", "follow", "digest"]


@dataclass(frozen=True)
class Unit:
    """What to do, by names only: all truth is in the rows of the run.

    `part` is the number of a segment (`copy`), the id of a shard (`follow`), or a side and the
    number of a segment, `source/3` (`digest`). `seconds` is how long following may take; with
    `live` it goes on for so long although the end of the shard was reached.
    """

    kind: Kind
    table: str
    part: str
    seconds: float = 30.0
    live: bool = False

    def to_json(self) -> str:
        """As a message, about 100 bytes."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of_json(cls, text: str) -> Unit:
        """From a message."""
        return cls(**json.loads(text))


class Crew(Protocol):
    """Workers that were hired for one job, while in a `with` block."""

    def offer(self, units: Sequence[Unit]) -> None:
        """Get each performed at least once, soon; those in hand already are not begun again.

        May block. Raises what a worker failed with, if that is known.
        """

    def __enter__(self) -> Crew:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Workers finish their page, checkpoint and let go; nothing runs afterwards."""
