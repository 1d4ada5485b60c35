"""Whether a target is healthy: what its answers to health checks add up to."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from fearless.http import request


@dataclass(frozen=True)
class Check:
    """A target group's health check. `timeout` is in seconds; `matcher` as ELB writes it."""

    path: str = "/"
    matcher: str = "200"
    timeout: float = 2.0
    rise: int = 2
    fall: int = 2


@dataclass(frozen=True)
class Health:
    """The state ELB would report, and the answers in a row that led to it."""

    state: str = "initial"
    passes: int = 0
    fails: int = 0
    description: str = ""
    asked: float = 0.0

    def after(self, failure: str, check: Check, now: float) -> Health:
        """The health after one more answer; `failure` is empty for a good one."""
        if failure:
            fails = self.fails + 1
            down = self.state != "initial" and fails >= check.fall
            state = "unhealthy" if down else self.state
            return replace(self, state=state, passes=0, fails=fails, description=failure, asked=now)
        passes = self.passes + 1
        state = "healthy" if passes >= check.rise else self.state
        description = "" if state == "healthy" else self.description
        return replace(
            self, state=state, passes=passes, fails=0, description=description, asked=now
        )

    def due(self, now: float) -> bool:
        """True when it is time to ask again: often until healthy, then once a second."""
        steady = self.state == "healthy" and not self.fails
        return now - self.asked >= (1.0 if steady else 0.25)


def matches(status: int, matcher: str) -> bool:
    """Whether the status is one of `200`, `200,204` or `200-299`."""
    for part in matcher.split(","):
        low, _, high = part.strip().partition("-")
        if low.isdigit() and int(low) <= status <= int(high if high.isdigit() else low):
            return True
    return False


def ask(port: int, check: Check) -> str:
    """Why the instance on that loopback port fails the check; empty when it passes."""
    try:
        status, _, _ = request("GET", f"http://127.0.0.1:{port}{check.path}", timeout=check.timeout)
    except OSError as error:
        return f"Health checks failed: {check.path}: {error.strerror or error}"
    if matches(status, check.matcher):
        return ""
    return f"Health checks failed with these codes: [{status}]"


class Prober:
    """Asks in the background, so that one that hangs delays no other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="probe")
        self._asked: dict[tuple[str, str], Future[str]] = {}

    def step(
        self, instance: str, group: str, port: int, check: Check, health: Health, now: float
    ) -> Health:
        """Take in an answer that has come and ask again when that is due."""
        key = (instance, group)
        future = self._asked.get(key)
        if future is not None and future.done():
            del self._asked[key]
            return health.after(future.result(), check, now)
        if future is None and health.due(now):
            self._asked[key] = self._pool.submit(ask, port, check)
        return health

    def forget(self, instance: str) -> None:
        """The instance is gone; what is still asked of it does not matter."""
        self._asked = {key: f for key, f in self._asked.items() if key[0] != instance}

    def close(self) -> None:
        """Stop asking."""
        self._pool.shutdown(wait=False, cancel_futures=True)
