"""Proves that a machine image starts with nothing from outside: by its console alone.

An instance is started where no packet gets in or out: without a public address, and in a security
group that has no rule. It is given what a stack's instances are given, and a nonce. A unit in the
machine image (`packer/machine/boot-test`) asks the application's health check and writes one line
with that nonce to the console, which EC2 shows to whoever started the instance.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fearless.builtin.aws import code, explained
from fearless.builtin.packer import tags
from fearless.builtin.packer.temporary import Temporary
from fearless.errors import BootFailed, FearlessError
from fearless.interfaces import Release, Report

if TYPE_CHECKING:
    from fearless.project import Project

RELEASE_FILE = "/etc/fearless/release.env"
TEST_FILE = "/etc/fearless/boot-test.env"

ENDED = ("shutting-down", "terminated", "stopping", "stopped")

SPARE = 180
"""Seconds that EC2 may take, beside the machine's own, to start it and to show its console."""


@dataclass(frozen=True)
class Verdict:
    """What the machine said of itself."""

    passed: bool
    text: str


class Console:
    """One test of one machine image. `seconds` is how long the application may take."""

    def __init__(
        self,
        client: Any,
        report: Report,
        *,
        seconds: int,
        poll: float,
        spare: float = SPARE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self.report = report
        self.seconds = seconds
        self.poll = poll
        self.spare = spare
        self.clock = clock
        self.sleep = sleep

    def ask(
        self,
        temporary: Temporary,
        ami: str,
        settings: Mapping[str, str],
        health: str,
        *,
        instance_type: str,
        subnet: str | None,
    ) -> str:
        """Start an instance that is gone when `temporary` is left; the evidence.

        Raises BootFailed with what the machine said instead, and FearlessError when no instance
        was to be had.
        """
        nonce = secrets.token_hex(8)
        group = temporary.security_group(f"fearless-boot-test-{nonce}", subnet, None)
        instance = temporary.instance(
            ImageId=ami,
            InstanceType=instance_type,
            UserData=user_data(settings, nonce, health, self.seconds),
            InstanceInitiatedShutdownBehavior="terminate",
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            NetworkInterfaces=[
                {
                    "DeviceIndex": 0,
                    "Groups": [group],
                    "AssociatePublicIpAddress": False,
                    **({"SubnetId": subnet} if subnet else {}),
                }
            ],
        )
        self.report.line(f"{instance} boots {ami} without any network")
        return self._follow(instance, ami, nonce)

    def _follow(self, instance: str, ami: str, nonce: str) -> str:
        began = self.clock()
        while True:
            with explained(f"reading the console of {instance}"):
                text = self._console(instance)
            verdict = heard(text, nonce)
            passed = self.clock() - began
            if verdict is not None:
                if verdict.passed:
                    return verdict.text
                raise BootFailed(f"{ami} without any network: {verdict.text}")
            self._check_state(instance, ami)
            if passed > self.seconds + self.spare:
                raise BootFailed(
                    f"{ami} without any network: {instance} said nothing of its application "
                    f"within {passed:.0f} s; {_last(text)}"
                )
            self.report.progress("boot test", int(passed), None, _last(text))
            self.sleep(self.poll)

    def _console(self, instance: str) -> str:
        """What is on the console now; only instances on the Nitro system show it at once."""
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_console_output(InstanceId=instance, Latest=True)
        except ClientError as error:
            if code(error) == "InvalidInstanceID.NotFound":  # it was started a moment ago
                return ""
            if code(error) not in ("UnsupportedOperation", "InvalidParameterCombination"):
                raise
            answer = self.client.get_console_output(InstanceId=instance)
        return str(answer.get("Output") or "")

    def _check_state(self, instance: str, ami: str) -> None:
        """Raise when it will never say anything."""
        with explained(f"looking at {instance}"):
            answer = self.client.describe_instances(
                Filters=[
                    *tags.filters({"instance-id": instance}),
                    *tags.filters({"instance-state-name": ENDED}),
                ]
            )
        for found in (one for each in answer["Reservations"] for one in each["Instances"]):
            reason = found.get("StateReason") or {}
            why = reason.get("Message") or found.get("StateTransitionReason") or "no reason given"
            raise FearlessError(f"{instance} of {ami} ended before it said anything: {why}")


def heard(console: str, nonce: str) -> Verdict | None:
    """The verdict on a console, if its line is complete. Pure."""
    match = re.search(rf"fearless-boot-test {nonce} (ok|failed) ([^\r\n]+)[\r\n]", console)
    return Verdict(match[1] == "ok", match[2].strip()) if match else None


def user_data(settings: Mapping[str, str], nonce: str, health: str, seconds: int) -> str:
    """What the instance is given: a stack's file with these settings, and the test's. Pure."""
    test = {"NONCE": nonce, "HEALTH": health, "TIMEOUT": str(seconds)}
    written = [
        {"path": path, "permissions": "0644", "content": _lines(values)}
        for path, values in ((RELEASE_FILE, settings), (TEST_FILE, test))
    ]
    return f"#cloud-config\n{json.dumps({'write_files': written}, indent=1)}\n"


def settings(project: Project, release: Release, region: str) -> dict[str, str]:
    """What a stack's instances find in release.env (templates/instances.yaml.j2), without a
    stack: no table of these names exists."""
    stack = "boot-test"
    return {
        "FEARLESS_APP": release.app,
        "FEARLESS_STACK": stack,
        "FEARLESS_STACK_ID": stack,
        "FEARLESS_RELEASE": release.name,
        "FEARLESS_SHA": release.sha,
        "FEARLESS_KIND": release.kind,
        "FEARLESS_LOG_GROUP": f"/fearless/{release.app}/{stack}",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "HOST": "0.0.0.0",
        "PORT": str(project.app.port),
        **{table.env: f"{stack}-{table.name}" for table in project.tables},
    }


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _last(console: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return f"the last on its console: {lines[-1][:200]}" if lines else "its console is empty"
