"""The smallest gate there is, good for any app: the front page answers, and quickly."""

from __future__ import annotations

import time
from collections.abc import Callable

from fearless import Candidate, Gate, GateFailed, hookimpl

SECONDS = 1.0


@hookimpl
def gates() -> list[Gate]:
    """One gate: `smoke`."""
    return [Gate("smoke", front_page)]


def front_page(candidate: Candidate, clock: Callable[[], float] = time.monotonic) -> str:
    """GET / answers 200 within a second; the first request may warm things up."""
    candidate.get("/")
    started = clock()
    status, _ = candidate.get("/")
    took = clock() - started
    if status != 200:
        raise GateFailed(f"GET / answered {status}")
    if took > SECONDS:
        raise GateFailed(f"GET / took {took:.1f} s, more than {SECONDS:g} s")
    return f"GET / answered 200 in {took * 1000:.0f} ms"
