"""Put another image onto a running dev stack of the embedded cloud: `[deploy] use = "local"`."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless.errors import FearlessError
from fearless.interfaces import Image, Release, Report, Stack
from fearless.local.source import deployed_layout, override_name

if TYPE_CHECKING:
    from fearless.local.cloud import LocalCloud
    from fearless.project import Project


class LocalDeployer:
    """Says in an SSM parameter which image a stack runs, and waits until every instance does.

    Instances find the image in the cloud's folder `deployed`, pulled from whichever registry
    the project has. `timeout` is how long that may take, `poll` how often to look, in seconds.
    """

    def __init__(
        self, project: Project, cloud: LocalCloud, timeout: float = 180, poll: float = 0.2
    ) -> None:
        self.project = project
        self.cloud = cloud
        self.timeout = timeout
        self.poll = poll

    def deployed(self, stack: Stack) -> str | None:
        """The image reference the stack was last told to run, if any."""
        ssm = self.cloud.client("ssm")
        try:
            parameter = ssm.get_parameter(Name=override_name(stack.name))["Parameter"]
        except ssm.exceptions.ParameterNotFound:
            return None
        return str(json.loads(parameter["Value"])["reference"])

    def deploy(self, release: Release, stack: Stack, image: Image, report: Report) -> None:
        """Replace the container everywhere in the stack; return when all of them are healthy."""
        self.project.registry.pull(image, self._pulled(stack))
        value = {
            "stack": stack.name,
            "reference": image.reference,
            "repository": image.repository,
            "tag": image.tag,
            "digest": image.digest,
            "image_id": image.image_id,
            "sha": release.sha,
            "release": release.name,
        }
        self.cloud.client("ssm").put_parameter(
            Name=override_name(stack.name), Type="String", Value=json.dumps(value), Overwrite=True
        )
        deadline = time.monotonic() + self.timeout
        while True:
            desired = self._desired(stack)
            running = self._running(stack)
            targets = self._targets(stack)
            done = sum(
                state == "healthy" and running.get(id) == image.reference
                for id, state in targets.items()
            )
            report.progress("instances", min(done, desired), desired, image.tag)
            alone = done == len(targets) and set(running.values()) <= {image.reference}
            if done >= desired and alone:
                return
            if time.monotonic() > deadline:
                there = targets.keys() | running.keys()
                others = sum(running.get(id) != image.reference for id in there)
                still = f", {others} of another image are not gone," if done >= desired else ""
                raise FearlessError(
                    f"{stack.name}: {done} of {desired} instances run {image.tag} and are healthy"
                    f"{still} after {self.timeout:.0f} s{self._why(stack)}"
                )
            time.sleep(self.poll)

    def forget(self, stack: Stack) -> None:
        """Remove the parameter, and what was pulled."""
        ssm = self.cloud.client("ssm")
        with contextlib.suppress(ssm.exceptions.ParameterNotFound):
            ssm.delete_parameter(Name=override_name(stack.name))
        shutil.rmtree(self._pulled(stack), ignore_errors=True)

    def _pulled(self, stack: Stack) -> Path:
        return deployed_layout(self.cloud.directory.root, stack.name)

    def _desired(self, stack: Stack) -> int:
        return int(self._group(stack)["DesiredCapacity"])

    def _group(self, stack: Stack) -> dict[str, Any]:
        name = stack.outputs["AutoScalingGroup"]
        groups = self.cloud.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[name]
        )["AutoScalingGroups"]
        if not groups:
            raise FearlessError(f"{stack.name} has no auto-scaling group {name}: was it deleted?")
        return dict(groups[0])

    def _running(self, stack: Stack) -> dict[str, str]:
        """Instance id -> image reference, of the stack's instances that are not terminated."""
        filters = [
            {
                "Name": "tag:aws:autoscaling:groupName",
                "Values": [stack.outputs["AutoScalingGroup"]],
            },
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
        ]
        found = {}
        for page in (
            self.cloud.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
        ):
            for reservation in page["Reservations"]:
                for instance in reservation["Instances"]:
                    tags = {t["Key"]: t["Value"] for t in instance.get("Tags", ())}
                    found[instance["InstanceId"]] = tags.get("fearless:image", "")
        return found

    def _targets(self, stack: Stack) -> dict[str, str]:
        """Instance id -> health, of every target there is, those that drain too."""
        found = self.cloud.client("elbv2").describe_target_health(
            TargetGroupArn=stack.outputs["TargetGroup"]
        )["TargetHealthDescriptions"]
        return {target["Target"]["Id"]: target["TargetHealth"]["State"] for target in found}

    def _why(self, stack: Stack) -> str:
        status = getattr(self.cloud, "status", lambda: None)() or {}
        for group in status.get("groups", ()):
            if group["name"] == stack.outputs["AutoScalingGroup"] and group["failures"]:
                return f": {group['problem']}"
        return ": look at `fearless local status`"
