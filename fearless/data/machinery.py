"""Time, chance and threads: everything that differs between a real run and a simulated one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from fearless.data.work import Runner
from fearless.owner import Owner, boottime


@dataclass(frozen=True)
class Machinery:
    """`clock` also runs while the machine sleeps; `wall` is the server's clock, in Unix seconds.

    `runner` performs the units of this process, None for threads; `heartbeat` is whether a thread
    of its own renews leases.
    """

    clock: Callable[[], float] = boottime
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random | None = None
    runner: Runner | None = None
    owner: Callable[[], Owner] = Owner.me
    heartbeat: bool = True

    def random(self) -> random.Random:
        """Where chance comes from."""
        return self.rng or random.Random()
