"""A real registry for tests: Debian's `docker-registry`, on loopback, with its files in a folder.

A test module gets its fixtures by `pytest_plugins = ["tests.docker_registry"]`.

`docker_registry` lets anybody in and is shared by a module; `registries` makes more of them, with a
password or tokens, to be killed, stopped and started again. A Docker engine in a network namespace
of its own (`tests.docker_engine`) reaches one after `engine.forward(registry.port)`, at the same
address `127.0.0.1:PORT`, which engines talk plain HTTP to.

Without the program their tests are skipped; with CI=true they fail.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol

import bcrypt
import pytest

from fearless.testing.emulator import free_port

USERNAME = "ci"
PASSWORD = "hush hush"


class DockerRegistry:
    """A registry at `host` (`127.0.0.1:PORT`), which starts, dies and starts again there.

    `login` is the name and password it wants, if any. `auth` is its configuration's section.
    """

    def __init__(
        self,
        directory: Path,
        login: tuple[str, str] | None = None,
        auth: dict[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.login = login
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.storage = directory / "storage"
        self._config = directory / "config.yml"
        self._config.write_text(json.dumps(self._configuration(auth)))  # JSON is YAML
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; returns when it answers."""
        with (self.directory / "registry.log").open("a") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self._config)],
                env={"PATH": os.environ["PATH"]},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not _answers(f"{self.url}/v2/"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                _without((self.directory / "registry.log").read_text()[-1500:])
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: whatever it was in the middle of stays as it is on the disk."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In good order. Stopped already is fine."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def when_uploading(self, repository: str, at_least: int = 1) -> None:
        """Return at the first moment that an upload into the repository has so many bytes."""
        uploads = self.storage / f"docker/registry/v2/repositories/{repository}/_uploads"
        deadline = time.monotonic() + 30
        while not any(_size(file) >= at_least for file in uploads.glob("*/data")):
            assert time.monotonic() < deadline, f"nothing is uploaded into {repository}"
            time.sleep(0.001)

    def tags(self, repository: str) -> list[str]:
        """The tags on its disk, whether it runs or not."""
        tags = self.storage / f"docker/registry/v2/repositories/{repository}/_manifests/tags"
        return sorted(path.parent.parent.name for path in tags.glob("*/current/link"))

    def blob(self, digest: str) -> Path:
        """The file with a blob's or a manifest's bytes."""
        found = digest.removeprefix("sha256:")
        return self.storage / f"docker/registry/v2/blobs/sha256/{found[:2]}/{found}/data"

    def _configuration(self, auth: dict[str, Any] | None) -> dict[str, Any]:
        storage = {
            "filesystem": {"rootdirectory": str(self.storage)},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        }
        http = {"addr": self.host, "secret": "the same after a restart"}
        found = {"version": 0.1, "log": {"level": "warn"}, "storage": storage, "http": http}
        if self.login and auth is None:
            username, password = self.login
            hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
            accounts = self.directory / "htpasswd"
            accounts.write_text(f"{username}:{hashed}\n")
            auth = {"htpasswd": {"realm": "test", "path": str(accounts)}}
        return found | ({"auth": auth} if auth else {})

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None and self._process.poll() is None, "it does not run"
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class Registries(Protocol):
    """What the fixture `registries` is: call it for one more registry, which is running."""

    def __call__(
        self, login: tuple[str, str] | None = None, auth: dict[str, Any] | None = None
    ) -> DockerRegistry: ...


@contextmanager
def running(
    directory: Path, login: tuple[str, str] | None = None, auth: dict[str, Any] | None = None
) -> Iterator[DockerRegistry]:
    """A registry with everything it writes in `directory`."""
    if not shutil.which("docker-registry"):
        _without("docker-registry is not installed (Debian: apt-get install docker-registry)")
    directory.mkdir(parents=True, exist_ok=True)
    registry = DockerRegistry(directory, login, auth)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """One that lets anybody in."""
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """One that wants `USERNAME` and `PASSWORD`."""
    with running(tmp_path_factory.mktemp("registry"), (USERNAME, PASSWORD)) as registry:
        yield registry


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[Registries]:
    """More of them, of the test's own."""
    with ExitStack() as stack:
        made: list[DockerRegistry] = []

        def make(
            login: tuple[str, str] | None = None, auth: dict[str, Any] | None = None
        ) -> DockerRegistry:
            directory = tmp_path / f"registry-{len(made)}"
            made.append(stack.enter_context(running(directory, login, auth)))
            return made[-1]

        yield make


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True  # it wants to know who we are
    except OSError:
        return False


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have a docker-registry: {reason}")
    pytest.skip(reason)
