"""The embedded cloud as the `cloud` slot sees it: `[cloud] use = "local"`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fearless.errors import FearlessError
from fearless.interfaces import Report
from fearless.local import launcher
from fearless.local.directory import Directory, Running, read_json, write_json
from fearless.local.endpoint import REGION, Endpoint, root_credentials


class NotRunning(FearlessError):
    """The embedded cloud does not run and nothing was to start it."""


class LocalCloud:
    """AWS on loopback, run by a daemon that is started when something needs it.

    `directory` (in the project) holds its state; `port` is the one users reach the app by, or
    the next free one, which is then remembered; `seed` is a folder that describes a production
    to plant when the cloud is first started.
    """

    region = REGION

    def __init__(
        self,
        project: Any,
        directory: str = ".fearless",
        port: int = 8080,
        seed: str | None = None,
    ) -> None:
        self.project = project
        self.directory = Directory(Path(project.root).resolve() / directory)
        self.port = port
        self.seed = seed
        self._endpoint: Endpoint | None = None
        self._planting = False

    def ensure(self, report: Report) -> None:
        """Start the daemon unless it runs, wait until it answers, plant the seed once."""
        running = launcher.start(self.directory, self.project.domain, self.port, report)
        self._connect(running)
        if running.domain != self.project.domain:
            report.line(
                f"the embedded cloud follows {running.domain or 'no name'}, not "
                f"{self.project.domain or 'no name'}: `fearless local stop` and `up` change that"
            )
        if self.seed and not self._planting and not self.directory.seeded.exists():
            self._plant(self.seed, report)

    def _plant(self, seed: str, report: Report) -> None:
        from fearless.local.seed import plant

        self._planting = True
        try:
            plant(self.project, seed, report)
        finally:
            self._planting = False
        write_json(self.directory.seeded, {"seed": seed})

    def running(self) -> bool:
        """True when the daemon runs and its emulator answers."""
        running = Running.read(self.directory)
        return running is not None and Endpoint(running.emulator).answers()

    def client(self, service: str) -> Any:
        """A boto3 client for the emulator, cached; raises NotRunning when there is none."""
        if self._endpoint is None:
            self._connect(self._running())
        assert self._endpoint is not None
        return self._endpoint.client(service)

    def credentials(self) -> Any:
        """The emulator's root credentials."""
        return root_credentials()

    def parameters(self, stack_name: str) -> dict[str, str]:
        """`ListenerPort`: a loopback port of the stack's own, the same every time."""
        return {"ListenerPort": str(self.directory.stack_port(stack_name))}

    def url(self, host: str, port: int) -> str:
        """`http://localhost:<port>`: every stack has a port of its own, and not every resolver
        knows that the balancer's `*.localhost` is loopback."""
        return f"http://localhost:{port}"

    def public_url(self, name: str) -> str:
        """Where users reach the app: the edge's port, whichever name it follows."""
        return f"http://localhost:{self._running().port}"

    def status(self) -> dict[str, Any] | None:
        """What the daemon last reported; None when it does not run."""
        running = Running.read(self.directory)
        if running is None:
            return None
        return {
            "pid": running.process.pid,
            "started": running.started,
            **read_json(self.directory.status),
        }

    def stop(self) -> bool:
        """Stop the daemon, saving all state; False when it does not run."""
        self._endpoint = None
        return launcher.stop(self.directory)

    def reset(self) -> None:
        """Stop the daemon and delete everything it keeps."""
        self._endpoint = None
        launcher.reset(self.directory)

    def _running(self) -> Running:
        running = Running.read(self.directory)
        if running is None:
            raise NotRunning("the embedded cloud does not run: start it with `fearless local up`")
        return running

    def _connect(self, running: Running) -> None:
        if self._endpoint is None or self._endpoint.url != running.emulator:
            self._endpoint = Endpoint(running.emulator)
