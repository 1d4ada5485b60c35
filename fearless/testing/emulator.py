"""A real AWS emulator in its own process, on loopback: what the embedded cloud runs on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless.errors import FearlessError

if TYPE_CHECKING:
    from fearless.data.wire import Service, Wire


class Emulator:
    """A running emulator: its URL, and boto3 clients for it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client; root credentials unless others are given. IAM is enforced."""
        import boto3
        from botocore.config import Config

        keys: dict[str, Any] = credentials or {
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        config = Config(account_id_endpoint_mode="disabled")
        make: Any = boto3.client
        return make(service, endpoint_url=self.url, region_name="us-east-1", config=config, **keys)

    def wire(self, service: Service = "dynamodb", **options: Any) -> Wire:
        """A client of the data plane's own, with root credentials unless others are given."""
        from botocore.credentials import Credentials

        from fearless.data.wire import Wire

        credentials = options.pop("credentials", None) or Credentials("test", "test")
        return Wire(service, self.url, "us-east-1", credentials, **options)


def free_port() -> int:
    """A loopback port nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(directory: Path, signature_seconds: float | None = None) -> Iterator[Emulator]:
    """Start one with its state in `directory`; stopped by its pid at the end.

    Requests to DynamoDB are refused `signature_seconds` after they were signed, 15 minutes
    unless given.
    """
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
    if signature_seconds is not None:
        env["FEARLESS_SIGNATURE_SECONDS"] = str(signature_seconds)
    log = directory / "emulator.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fearless.local.emulator"],
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while not _answers(f"{url}/_ministack/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise FearlessError(f"the emulator did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield Emulator(url)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # it saves a large state for minutes
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
