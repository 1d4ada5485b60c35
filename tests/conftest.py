"""What every test may use: a real emulator in its own process, a silent report."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["AWS_ACCOUNT_ID_ENDPOINT_MODE"] = "disabled"
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
    os.environ.pop(name, None)


def free_port() -> int:
    """A loopback port nothing listens on at the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Emulator:
    """A running emulator: its URL, and boto3 clients for it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str, **credentials: str) -> Any:
        import boto3

        keys = credentials or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1", **keys)


class SilentReport:
    """A Report that remembers its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        pass


@pytest.fixture
def report() -> SilentReport:
    return SilentReport()


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The embedded cloud's AWS emulator, IAM enforced, in its own process, on loopback."""
    directory: Path = tmp_path_factory.mktemp("emulator")
    port = free_port()
    env = dict(
        os.environ,
        AUTH="true",
        BIND_HOST="127.0.0.1",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        STATE_DIR=str(directory / "state"),
        PERSIST_STATE="1",
        GATEWAY_PORT=str(port),
        DOCKER_HOST="unix:///nonexistent",
        TMPDIR=str(directory),
    )
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fearless.local.emulator"],
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{url}/_ministack/health", timeout=2).read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((directory / "log").read_text()[-2000:])
                time.sleep(0.05)
        yield Emulator(url)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        shutil.rmtree(directory, ignore_errors=True)
