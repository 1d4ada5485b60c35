"""The embedded cloud's daemon: `python -m fearless.local.daemon DIRECTORY --domain NAME`.

One process that runs the emulator, the load balancers and the instances as its children, and
keeps what runs equal to what the emulator's API says. SIGTERM stops all of it and saves the
emulator's state; SIGKILL ends the children, too, and the emulator then saves by itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fearless.errors import FearlessError
from fearless.local import container, engine, process, runtime, world
from fearless.local.credentials import Credentials
from fearless.local.directory import Directory, Running, read_json, write_json
from fearless.local.endpoint import DAEMON, Endpoint
from fearless.local.fleet import Fleet
from fearless.local.front import Front
from fearless.local.leftovers import Sweeper
from fearless.local.status import failure_report, group_report, health_report, snapshot
from fearless.local.world import World

log = logging.getLogger(__name__)

TICK = 0.1
PATIENCE = 2.0
"""Seconds after which the emulator is read again although nobody called it."""
SAVE_SECONDS = 60.0
"""How long the emulator may take to save its state."""


INHERITED = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")
INHERITED_PREFIXES = ("LC_", "PYTHON")
"""Variables of the user that the emulator gets. It obeys many others, DEBUG and SERVICES too."""


class EmulatorDied(FearlessError):
    """The emulator ended by itself."""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What the emulator may know of the user's environment: how to run, and nothing it obeys."""
    return {
        key: value
        for key, value in environ.items()
        if key in INHERITED or key.startswith(INHERITED_PREFIXES)
    }


def start_emulator(directory: Directory, port: int, scratch: Path) -> Any:
    """Start the emulator on that loopback port; its state is in the directory."""
    env = inherited(os.environ) | {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "DOCKER_HOST": "unix:///nonexistent",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "PERSIST_STATE": "1",
        "SFTP_ENABLED": "0",
        "STATE_DIR": str(directory.emulator),
        "TMPDIR": str(scratch),
    }
    return process.spawn(
        [sys.executable, "-m", "fearless.local.emulator"],
        log=directory.logs / "emulator.log",
        env=env,
        directory=directory.root,
        death_signal=signal.SIGTERM,
    )


def clear_leftovers(directory: Directory) -> None:
    """End what a killed daemon of this directory left running; a saving emulator gets to finish."""
    recorded = [
        process.Identity(int(entry["pid"]), str(entry["start"]))
        for entry in read_json(directory.children).get("processes", ())
    ]
    for ended in process.clear([*recorded, *process.marked(directory.root)], SAVE_SECONDS):
        log.warning("ended process %s, which a killed daemon left", ended.pid)
    directory.children.unlink(missing_ok=True)
    client = engine.connect()
    if client is not None:
        container.remove_leftovers(client, directory.root)
        client.close()


class Daemon:
    """The parts, and the loop that keeps them equal to the world."""

    def __init__(
        self,
        directory: Directory,
        domain: str,
        port: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory, self.clock = directory, clock
        self.scratch = Path(tempfile.mkdtemp(prefix="fearless-"))
        self.stopping = threading.Event()
        number = directory.emulator_port()
        self.endpoint = Endpoint(f"http://127.0.0.1:{number}", DAEMON)
        self.emulator = start_emulator(directory, number, self.scratch)
        self._recorded: set[int] = set()
        self.world: World | None = None
        self._read_at, self._revision = float("-inf"), -1
        self._published: dict[str, Any] = {}
        self._complaint = ""
        self.front = Front(directory, self.scratch, domain, port)
        self.credentials = Credentials(self.endpoint.instance_credentials)
        self.fleet = Fleet(
            self.endpoint,
            directory,
            self.credentials,
            lambda source, home: runtime.prepare(source, directory.root / "rootfs", home),
        )
        self.sweeper = Sweeper(
            directory.root, lambda: {i.digest for i in list(self.fleet.instances.values())}
        )
        self._record_children()

    def run(self) -> None:
        """Serve until asked to stop."""
        self._wait_for_emulator()
        self._terminate_predecessors()
        announced = False
        while not self.stopping.is_set():
            if self.emulator.poll() is not None:
                said = " / ".join(process.tail(self.directory.logs / "emulator.log", 3))
                raise EmulatorDied(f"the emulator ended by itself: {said}")
            try:
                self.step()
            except (FearlessError, OSError, BotoCoreError, ClientError) as error:
                if self._news(error):
                    log.warning("%s: %s", type(error).__name__, error)
            except Exception as error:
                if self._news(error):
                    log.exception("this round failed; the next one is tried")
            else:
                self._complaint = ""
                if not announced:
                    self._announce()
                    announced = True
            self.stopping.wait(TICK)

    def _news(self, error: Exception) -> bool:
        """True unless the round before failed for the same reason, which is in the log then."""
        complaint = f"{type(error).__name__}: {error}"
        before, self._complaint = self._complaint, complaint
        return complaint != before

    def step(self) -> None:
        """One round: read what changed, act on it, publish what runs."""
        now = self.clock()
        revision = self.endpoint.revision()
        stale = revision != self._revision or self.fleet.acted
        if self.world is None or stale or now - self._read_at >= PATIENCE:
            self.fleet.acted = False
            self.world = world.read(self.endpoint.client, self.front.domain)
            self._read_at, self._revision = now, revision
        self.fleet.step(self.world, now)
        self.front.step(self.world, self.fleet.targets(), now)
        self._publish(self.world)
        self._record_children()
        self.sweeper.step(now)

    def _publish(self, world: World) -> None:
        self._once("health", health_report(self.fleet), self.endpoint.report_health)
        self._once("failures", failure_report(self.fleet), self.endpoint.report_failures)
        for name in world.groups:
            publish = partial(self.endpoint.report_group, name)
            self._once(f"group {name}", group_report(self.fleet, name), publish)
        seen = snapshot(world, self.fleet, self.front, self.endpoint.url)
        self._once("status", seen, lambda content: write_json(self.directory.status, content))

    def _once(self, what: str, content: Any, publish: Callable[[Any], None]) -> None:
        if self._published.get(what) != content:
            publish(content)
            self._published[what] = content

    def _wait_for_emulator(self) -> None:
        deadline = self.clock() + SAVE_SECONDS
        while not self.endpoint.answers():
            if self.emulator.poll() is not None or self.clock() > deadline:
                said = " / ".join(process.tail(self.directory.logs / "emulator.log", 3))
                raise EmulatorDied(f"the emulator did not start: {said}")
            if self.stopping.wait(0.02):
                return

    def _terminate_predecessors(self) -> None:
        """Instances of an earlier daemon are machines that are gone."""
        ec2 = self.endpoint.client("ec2")
        gone = [id for id, group in world.read_instances(ec2).items() if group]
        if gone:
            ec2.terminate_instances(InstanceIds=gone)

    def _announce(self) -> None:
        Running(
            process.identify(os.getpid()),
            self.endpoint.url,
            self.front.port,
            self.front.domain,
            datetime.now(UTC).isoformat(timespec="seconds"),
        ).write(self.directory)
        log.info("ready: emulator %s, public port %s", self.endpoint.url, self.front.port)

    def _record_children(self) -> None:
        pids = {self.emulator.pid, *(caddy.process.pid for caddy in self.front.running)}
        pids |= {i.pid for i in self.fleet.instances.values() if i.pid is not None}
        if pids != self._recorded:
            found = [process.identify(pid) for pid in sorted(pids)]
            entries = [{"pid": p.pid, "start": p.start} for p in found if p.start]
            write_json(self.directory.children, {"processes": entries})
            self._recorded = pids

    def close(self) -> None:
        """Stop everything in the order that loses nothing; the emulator saves its state last."""
        self.front.stop()
        alive = self.emulator.poll() is None
        try:
            self.fleet.stop(self.world if alive else None, 10)
        except (OSError, BotoCoreError, ClientError) as error:
            log.warning("instances were stopped but not terminated: %s", error)
        self.sweeper.close()
        self.credentials.close()
        self.endpoint.close()
        process.stop(self.emulator, SAVE_SECONDS)
        shutil.rmtree(self.scratch, ignore_errors=True)
        for path in (self.directory.record, self.directory.children, self.directory.status):
            path.unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    """Run the daemon in the foreground."""
    parser = argparse.ArgumentParser(prog="python -m fearless.local.daemon", description=__doc__)
    parser.add_argument("directory", type=Path, help="the project's .fearless directory")
    parser.add_argument("--domain", default="", help="the DNS name the public port follows")
    parser.add_argument("--port", type=int, required=True, help="the public port")
    args = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)
    directory = Directory(args.directory.resolve())
    directory.prepare()
    clear_leftovers(directory)
    daemon = Daemon(directory, args.domain, args.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stopping.set())
    try:
        daemon.run()
    except EmulatorDied as error:
        log.error("%s", error)
        return 1
    finally:
        daemon.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
