"""One instance: prepared in the background, run as a child, watched, drained and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fearless.errors import FearlessError
from fearless.local import process, sockets
from fearless.local.health import Health
from fearless.local.runtime import Prepared

State = Literal["preparing", "running", "draining", "stopping", "dead"]
STOP_SECONDS = 10.0
"""How long an app may take to stop after its stop signal."""


@dataclass
class Instance:
    """An instance of `group` that answers on loopback `port`, once it runs.

    `health` is by target group ARN. From `seen` on, the EC2 API must list it.
    `reason` says why it is not what it should be.
    """

    id: str
    group: str
    zone: str
    port: int
    image: str
    env: Mapping[str, str]
    home: Path
    directory: Path
    launched: float
    seen: float
    preparing: Future[Prepared]
    state: State = "preparing"
    reason: str = ""
    health: dict[str, Health] = field(default_factory=dict)
    served: bool = False
    deadline: float = 0.0
    checked: float = 0.0
    prepared: Prepared | None = None
    child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the app wrote."""
        return self.home / "app.log"

    @property
    def digest(self) -> str:
        """The manifest digest of the image it runs."""
        return self.image.rpartition("@")[2]

    @property
    def pid(self) -> int | None:
        """The process, once it runs."""
        return self.child.pid if self.child else None

    @property
    def member(self) -> bool:
        """True while it counts towards what its group wants."""
        return self.state in ("preparing", "running")

    @property
    def healthy(self) -> bool:
        """True when it runs and every target group it is in finds it healthy."""
        return self.state == "running" and all(h.state == "healthy" for h in self.health.values())

    def step(self, now: float) -> None:
        """Notice what happened: prepared, ended, exposed, overdue."""
        if self.state == "preparing" and self.preparing.done():
            self._start()
        if self.child is not None and self.child.poll() is not None:
            self._ended(self.child.returncode)
        elif self.state == "running" and now - self.checked >= (2.0 if self.served else 0.1):
            self.checked = now
            self._refuse_exposure()
        elif self.state == "draining" and now >= self.deadline:
            self.terminate(now)
        elif self.state == "stopping" and now >= self.deadline:
            self.kill()

    def _start(self) -> None:
        try:
            self.prepared = self.preparing.result()
            variables = dict(self.prepared.env) | dict(self.env)
            variables.setdefault("PATH", os.defpath)
            self.child = process.spawn(
                self.prepared.argv,
                log=self.log,
                env=variables,
                directory=self.directory,
                cwd=self.prepared.cwd,
                death_signal=self.prepared.death_signal,
            )
            self.state = "running"
        except (FearlessError, OSError) as error:
            self.fail(error.args[0] if isinstance(error, FearlessError) else str(error))

    def _ended(self, code: int) -> None:
        assert self.child is not None
        process.signal_group(self.child.pid, signal.SIGKILL)
        if self.state in ("preparing", "running") and not self.reason:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            said = " / ".join(process.tail(self.log, 3))
            self.reason = f"ended with {how}" + (f": {said}" if said else "")
        self.state = "dead"

    def _refuse_exposure(self) -> None:
        assert self.child is not None
        open_to_others = sockets.exposed(sockets.session_members(self._session()), self.port)
        if open_to_others:
            self.fail(
                f"refused: it listens on {', '.join(open_to_others)}; an app of the embedded cloud "
                "may listen on $HOST:$PORT (loopback) only"
            )

    def _session(self) -> int:
        assert self.child is not None
        inside = self.home / "container.pid"
        return int(inside.read_text()) if inside.is_file() else self.child.pid

    def fail(self, reason: str) -> None:
        """End it at once, for that reason."""
        self.reason = reason
        self.kill()
        self.state = "dead"

    def drain(self, seconds: float, now: float) -> None:
        """Take it out of service, and stop it `seconds` from now."""
        self.state, self.deadline = "draining", now + seconds

    def terminate(self, now: float) -> None:
        """Ask the app to stop; it is killed when it takes longer than STOP_SECONDS."""
        self.state, self.deadline = "stopping", now + STOP_SECONDS
        if self.child is None:
            self.preparing.cancel()
            self.state = "dead"
        elif self.prepared is not None:
            process.signal_group(self.child.pid, self.prepared.stop_signal)

    def kill(self) -> None:
        """End every process of it now."""
        if self.child is None or self.child.poll() is not None:
            return
        if self.prepared is not None and self.prepared.mode == "container":
            process.stop(self.child, STOP_SECONDS)
        else:
            process.stop(self.child, 0, signal.SIGKILL)
