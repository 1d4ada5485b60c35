"""EC2 as moto emulates it, in a process of its own, with one base machine image.

It invents addresses for its instances, which belong to somebody: whatever is tested against it
must dial none of them.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import Credentials

from fearless.testing.emulator import free_port

BASE = "ami-0123456789abcdef0"
_BASE = {
    "ami_id": BASE,
    "name": "debian-12-amd64",
    "owner_id": "136693071363",
    "public": True,
    "state": "available",
    "architecture": "x86_64",
    "virtualization_type": "hvm",
    "hypervisor": "xen",
    "root_device_type": "ebs",
    "root_device_name": "/dev/xvda",
    "image_location": "amazon/debian-12-amd64",
    "description": "Debian 12",
}


class Ec2Cloud:
    """What the baker needs of a Cloud. `before[operation]` runs before each such call, `after`
    with its request and its answer; `answers[operation]` answers in moto's place."""

    region = "us-east-1"

    def __init__(self, url: str) -> None:
        self.url = url
        self.before: dict[str, Callable[[], None]] = {}
        self.answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self.after: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {}
        self._bodies: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.ec2 = boto3.client(
            "ec2",
            endpoint_url=url,
            region_name=self.region,
            aws_access_key_id="test",
            aws_secret_access_key="not on any command line",
            config=Config(retries={"max_attempts": 0}),
        )
        events = self.ec2.meta.events
        events.register("before-call", self._called)
        events.register("after-call", self._answered)

    def client(self, service: str) -> Any:
        assert service == "ec2"
        return self.ec2

    def credentials(self) -> Any:
        return Credentials("test", "not on any command line")

    def _called(self, model: Any, params: dict[str, Any], **_: Any) -> Any:
        self.calls.append(model.name)
        self.before.get(model.name, lambda: None)()
        self._bodies[model.name] = params["body"]
        if model.name in self.answers:
            return _Ok(), self.answers[model.name](params["body"])
        return None

    def _answered(self, model: Any, parsed: dict[str, Any], **_: Any) -> None:
        if model.name in self.after:
            self.after[model.name](self._bodies[model.name], parsed)

    def instances(self) -> list[dict[str, Any]]:
        """Every instance there ever was."""
        found = self.ec2.describe_instances()["Reservations"]
        return [instance for reservation in found for instance in reservation["Instances"]]

    def running(self) -> list[dict[str, Any]]:
        """Those that are not terminated."""
        return [one for one in self.instances() if one["State"]["Name"] != "terminated"]

    def left(self) -> list[str]:
        """What is there beside machine images that costs money or opens a door."""
        groups = self.ec2.describe_security_groups()["SecurityGroups"]
        return [
            *(one["InstanceId"] for one in self.running()),
            *(one["KeyName"] for one in self.ec2.describe_key_pairs()["KeyPairs"]),
            *(one["GroupName"] for one in groups if one["GroupName"] != "default"),
            *(one["VolumeId"] for one in self.ec2.describe_volumes()["Volumes"]),
        ]

    def own(self) -> list[dict[str, Any]]:
        """Every machine image of the account, complete or not."""
        return list(self.ec2.describe_images(Owners=["self"])["Images"])

    def snapshots(self) -> list[str]:
        """The snapshots of all of the account's machine images, gone or not."""
        found = self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return [one["SnapshotId"] for one in found if BASE not in one["Description"]]


class _Ok:
    status_code = 200


def encoded(console: str) -> dict[str, Any]:
    """A console as EC2 answers with it."""
    return {"Output": base64.b64encode(console.encode()).decode()}


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Start it; its URL. Stopped by its process id."""
    amis = directory / "amis.json"
    amis.write_text(json.dumps([_BASE]))
    port = free_port()
    with (directory / "moto.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "MOTO_AMIS_PATH": str(amis)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None, (directory / "moto.log").read_text()[-1000:]
            assert time.monotonic() < deadline, "moto did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
