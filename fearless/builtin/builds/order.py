"""What an engine is asked to build, whichever of its two builders does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fearless.dockerfile import Instruction


@dataclass(frozen=True)
class Order:
    """One build. `archive` is its context, `timeout` in seconds, `secrets` are by id.

    What `args` hold may be read by anybody on this machine, and in the image: no secrets.
    """

    archive: Path
    dockerfile: str
    instructions: tuple[Instruction, ...]
    tag: str
    timeout: int
    labels: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    cache_from: Sequence[str] = ()
    nocache: bool = False
    network: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
