"""How a run is done: sizes, patience, and what counts as too much."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """All times in seconds.

    `segments`: the least number of parallel scans of a table. `threads`: units worked on at once
    by the process itself, where no engine does. `zombie`: after so long a request that was sent
    can no longer land. `lease`: how long a worker counts as alive without a sign of life. Changes
    stamped more than `skew` before the position are in the scan already (it reads later, and
    consistently), so they are not replayed. `max_quarantine`: more failed items than this stop the
    copy. `tip_polls` empty answers, `poll` apart, mean that a shard has been read to its end for
    now; a shard read to within `near` seconds of now counts, too. `max_rate`: writes a second of
    all workers together, None for as many as the table takes. `heartbeat`: while following for
    ever, a mark is written into the source so often, to see how long changes take; 0 for none.
    """

    segments: int = 4
    threads: int = 4
    zombie: float = 900.0
    skew: float = 300.0
    lease: float = 40.0
    max_quarantine: int = 1000
    max_rate: float | None = None
    page: int | None = None
    window: int = 1000
    poll: float = 0.25
    tip_polls: int = 3
    near: float = 2.0
    drain: float = 120.0
    buckets: int = 8192
    rounds: int = 5
    heartbeat: float = 5.0
    purity: int = 500
