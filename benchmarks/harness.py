"""Servers, tables and contenders for a benchmark; everything on loopback, stopped by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.items import KEY, item
from benchmarks.meter import busy
from fearless.testing.emulator import Emulator, free_port, running

ROOT = Path(__file__).parents[1]
TIMEOUT = 1800.0
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def environment() -> dict[str, str]:
    """What contenders see: the emulator's keys, this repository, and no AWS configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        **KEYS,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONPATH": str(ROOT),
    }


@contextlib.contextmanager
def emulator() -> Iterator[Emulator]:
    """A fresh emulator in a temporary directory; its state is forgotten, not saved, at the end."""
    os.environ["AWS_ACCOUNT_ID_ENDPOINT_MODE"] = "disabled"
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as found:
        try:
            yield found
        finally:
            request = urllib.request.Request(f"{found.url}/_ministack/reset", method="POST")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request, timeout=120).close()


def _leave(number: int, frame: object) -> None:  # noqa: ARG001
    sys.exit(128 + number)


class Tables:
    """The tables of one benchmark on the emulator."""

    def __init__(self, found: Emulator) -> None:
        self.emulator = found
        self._client = found.client("dynamodb")
        self._wire = found.wire("dynamodb")

    def create(self, kind: str, keys: Sequence[str] = KEY, stream: bool = True) -> str:
        """A new, empty table; its name."""
        name = f"{kind}-{uuid.uuid4().hex[:8]}"
        roles = zip(keys, ("HASH", "RANGE"), strict=False)
        self._client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": role} for key, role in roles],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
            **({"StreamSpecification": STREAM} if stream else {}),
        )
        return name

    def filled(self, count: int) -> str:
        """A new table with the items 0 to `count`, and a stream that begins after them."""
        name = self.create("source", stream=False)
        for start in range(0, count, 25):
            numbers = range(start, min(start + 25, count))
            puts = [{"PutRequest": {"Item": item(n, f"{n % 500:08d}")}} for n in numbers]
            left: Any = {name: puts}
            while left:
                left = self._wire.batch_write_item(RequestItems=left)["UnprocessedItems"]
        self._client.update_table(TableName=name, StreamSpecification=STREAM)
        return name

    def count(self, name: str) -> int:
        """How many items a table holds; the emulator knows at any moment."""
        return int(self._client.describe_table(TableName=name)["Table"]["ItemCount"])

    def stream(self, name: str) -> str:
        """The ARN of a table's stream."""
        return str(self._client.describe_table(TableName=name)["Table"]["LatestStreamArn"])

    def delete(self, *names: str) -> None:
        """Drop tables."""
        for name in names:
            self._client.delete_table(TableName=name)


class Stub:
    """Running stub servers on one port."""

    def __init__(self, port: int, processes: list[subprocess.Popen[str]]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._processes = processes
        self.served: dict[str, int] = {}

    def busy(self) -> list[float]:
        """Seconds of CPU each server used so far."""
        return [busy(process.pid) for process in self._processes]

    def stop(self) -> None:
        """End the servers; `served` says what they did."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            output, _ = process.communicate(timeout=30)
            for name, value in json.loads(output or "{}").items():
                self.served[name] = self.served.get(name, 0) + value


@contextlib.contextmanager
def stub(behind: Emulator, items: int, records: int = 0, servers: int = 1) -> Iterator[Stub]:
    """Stub servers with `items` canned items in every table and `records` in every shard."""
    port = free_port()
    settings = {"emulator": behind.url, "items": items, "records": records, "port": port}
    started = Stub(port, [])
    try:
        for _ in range(servers):
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.stub", json.dumps(settings)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            started._processes.append(process)
        for process in started._processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield started
    finally:
        started.stop()


def contend(
    name: str, order: dict[str, Any], python: str = sys.executable, timeout: float = TIMEOUT
) -> dict[str, Any]:
    """Run a contender in a process of its own; what it says that it cost."""
    with tempfile.TemporaryDirectory() as directory:
        answer = subprocess.run(
            [
                python,
                "-m",
                f"benchmarks.contenders.{name}",
                json.dumps({**order, "directory": directory}),
            ],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    if answer.returncode:
        raise SystemExit(f"{name} failed:\n{answer.stdout[-2000:]}\n{answer.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return result


@contextlib.contextmanager
def watching(servers: Stub) -> Iterator[dict[str, float]]:
    """How busy the busiest stub server was meanwhile, from 0 to 1, as `busy`."""
    before, began = servers.busy(), time.perf_counter()
    seen: dict[str, float] = {}
    yield seen
    elapsed = time.perf_counter() - began
    used = [after - then for after, then in zip(servers.busy(), before, strict=True)]
    seen["busy"] = max(used) / elapsed
    seen["cpu"] = sum(used)
