"""Where the embedded cloud of a project keeps its files, and the ports it remembers."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fearless.local.process import Identity
from fearless.local.sockets import free_port, is_free


@dataclass(frozen=True)
class Directory:
    """The `.fearless` directory of a project."""

    root: Path

    def prepare(self) -> None:
        """Create it, invisible to git."""
        for path in (self.root, self.logs, self.emulator, self.instances):
            path.mkdir(parents=True, exist_ok=True)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    @property
    def record(self) -> Path:
        """Who the daemon is and where it answers."""
        return self.root / "cloud.json"

    @property
    def status(self) -> Path:
        """What the daemon last saw: load balancers, groups, instances."""
        return self.root / "status.json"

    @property
    def children(self) -> Path:
        """The processes the daemon started, to be ended if it could not."""
        return self.root / "processes.json"

    @property
    def emulator(self) -> Path:
        """MiniStack's saved state."""
        return self.root / "emulator"

    @property
    def logs(self) -> Path:
        """Logs of the daemon, the emulator and the load balancers."""
        return self.root / "logs"

    @property
    def instances(self) -> Path:
        """One directory for each instance."""
        return self.root / "instances"

    @property
    def seeded(self) -> Path:
        """Exists once the seed was planted."""
        return self.root / "seeded.json"

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock of that name; another process waits for it."""
        self.prepare()
        with (self.root / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # ------------------------------------------------------------------ ports

    def stack_port(self, stack: str) -> int:
        """The listener port of the stack of that name, the same every time it is asked."""
        return self._port("stacks", stack, None)

    def public_port(self, preferred: int) -> int:
        """The port users reach the app by: `preferred`, or near it when that is taken."""
        return self._port("ports", "public", preferred)

    def emulator_port(self) -> int:
        """The port the emulator answers on."""
        return self._port("ports", "emulator", None)

    def _port(self, kind: str, name: str, preferred: int | None) -> int:
        with self.locked("ports"):
            path = self.root / "ports.json"
            known = read_json(path)
            ports = known.setdefault(kind, {})
            if name not in ports:
                taken = {int(p) for table in known.values() for p in table.values()}
                near = range(preferred, preferred + 20) if preferred else range(0)
                free = (p for p in near if p not in taken and is_free(p))
                ports[name] = next(free, None) or free_port(taken)
                write_json(path, known)
            return int(ports[name])

    def move_port(self, name: str) -> None:
        """Forget the remembered `public` or `emulator` port, which something else took."""
        with self.locked("ports"):
            path = self.root / "ports.json"
            known = read_json(path)
            known.get("ports", {}).pop(name, None)
            write_json(path, known)


@dataclass(frozen=True)
class Running:
    """The daemon as its record describes it. `port` is the public one."""

    process: Identity
    emulator: str
    port: int
    domain: str
    started: str

    @classmethod
    def read(cls, directory: Directory) -> Running | None:
        """The daemon that runs now; None when none does, whatever the record says."""
        record = read_json(directory.record)
        try:
            process = Identity(int(record["pid"]), str(record["start"]))
            running = cls(
                process,
                str(record["emulator"]),
                int(record["port"]),
                str(record["domain"]),
                str(record["started"]),
            )
        except (KeyError, ValueError, TypeError):
            return None
        return running if process.alive() else None

    def write(self, directory: Directory) -> None:
        """Make it the record that other commands find."""
        write_json(
            directory.record,
            {
                "pid": self.process.pid,
                "start": self.process.start,
                "emulator": self.emulator,
                "port": self.port,
                "domain": self.domain,
                "started": self.started,
            },
        )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty when the file is absent or was cut short."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file as a whole, so that a reader never sees half of it."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
    scratch.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    scratch.replace(path)
