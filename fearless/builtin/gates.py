"""The gates every release has: its machines are healthy, and they run what was released."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from fearless.builtin.aws import explained
from fearless.errors import FearlessError, GateFailed
from fearless.interfaces import Candidate, Cloud, Gate, Report, Stack

WINDOW = timedelta(minutes=10)
"""Instances that were lost longer before the last one do not count."""

MOST = 10
"""A group that has lost more than this is hopeless, however large it is."""

SICK = re.compile(r"taken out of service in response to an? .*(health|status) check")
"""The `Cause` of replacing an instance that was not healthy, as auto scaling words it."""


def targets_healthy(
    cloud: Cloud,
    timeout: float = 300,
    poll: float = 1,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    *,
    report: Report | None = None,
) -> Gate:
    """Gate `targets`: every target healthy, and at least as many as the group wants.

    Waits up to `timeout` seconds, looking every `poll` seconds, and tells `report` what it sees.
    Targets that are being drained are on their way out and do not count. Fails early when the
    group has lost more than two instances for each one it wants, the last while this waited.
    """

    def check(candidate: Candidate) -> str:
        stack, deadline = candidate.stack, clock() + timeout
        earlier: set[str] | None = None
        while True:
            with explained(f"asking for the health of stack {stack.name}"):
                targets = _targets(cloud, stack)
                wanted = _wanted(cloud, stack)
            states = Counter(str(target["State"]) for target in targets)
            healthy = states["healthy"]
            if healthy == len(targets) and healthy >= wanted > 0:
                return f"{healthy} of {len(targets)} targets healthy, {wanted} wanted"
            seen = ", ".join(f"{states[state]} {state}" for state in sorted(states)) or "no targets"
            losses = _losses(cloud, stack)
            earlier = set(losses) if earlier is None else earlier
            recent = [reason for id, reason in losses.items() if id not in earlier]
            if report is not None:
                report.progress("healthy targets", healthy, wanted, "; ".join([seen, *recent[:1]]))
            why = recent[:1] or _described(targets) or list(losses.values())[:1]
            told = "; ".join(why) or "look at the logs of its instances"
            if recent and len(losses) > min(2 * max(wanted, 1), MOST):
                raise GateFailed(
                    f"stack {stack.name}: {seen}, {wanted} wanted, and its instances keep ending, "
                    f"{len(losses)} so far: {told}"
                )
            if clock() > deadline:
                raise GateFailed(
                    f"stack {stack.name}: {seen} after {timeout:g} s, {wanted} wanted: {told}"
                )
            sleep(poll)

    return Gate("targets", check)


def shows_sha(path: str, times: int = 5) -> Gate:
    """Gate `release`: GET `path` on the candidate answers its own SHA and stack, `times` times.

    The answer is a JSON object with `sha` and `stack`. It is asked for several times because a
    load balancer has several machines behind it.
    """

    def check(candidate: Candidate) -> str:
        expected = {"sha": candidate.release.sha, "stack": candidate.stack.name}
        for _ in range(times):
            answer = _json(candidate, path)
            for key, value in expected.items():
                if answer.get(key) != value:
                    raise GateFailed(
                        f"{candidate.url}{path} says {key} {answer.get(key)!r}, not {value!r}"
                    )
        return f"{path} showed {candidate.release.short} {times} times out of {times}"

    return Gate("release", check)


def _targets(cloud: Cloud, stack: Stack) -> list[Mapping[str, Any]]:
    """The `TargetHealth` of each target that is not being drained."""
    target_group = _output(stack, "TargetGroup")
    descriptions = cloud.client("elbv2").describe_target_health(TargetGroupArn=target_group)[
        "TargetHealthDescriptions"
    ]
    found = [one["TargetHealth"] for one in descriptions]
    return [target for target in found if target["State"] != "draining"]


def _described(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the load balancer says of the targets that are not healthy, each thing once."""
    unhealthy = [target for target in targets if target["State"] != "healthy"]
    return list(dict.fromkeys(t["Description"] for t in unhealthy if t.get("Description")))


def _losses(cloud: Cloud, stack: Stack) -> dict[str, str]:
    """Why the group's instances were lost or not launched, newest first, by the activity's id.

    None when we may not ask: it is a help, not the gate.
    """
    group = _output(stack, "AutoScalingGroup")
    try:
        with explained(f"asking what became of the instances of stack {stack.name}"):
            activities = cloud.client("autoscaling").describe_scaling_activities(
                AutoScalingGroupName=group, MaxRecords=100
            )["Activities"]
    except FearlessError:
        return {}
    lost = [a for a in activities if a["StatusCode"] == "Failed" or SICK.search(a.get("Cause", ""))]
    return {
        activity["ActivityId"]: str(activity.get("StatusMessage") or activity.get("Cause", ""))
        for activity in lost
        if activity["StartTime"] > lost[0]["StartTime"] - WINDOW
    }


def _wanted(cloud: Cloud, stack: Stack) -> int:
    groups: Sequence[Any] = cloud.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[_output(stack, "AutoScalingGroup")]
    )["AutoScalingGroups"]
    return int(groups[0]["DesiredCapacity"]) if groups else 0


def _output(stack: Stack, name: str) -> str:
    if name not in stack.outputs:
        raise GateFailed(f"stack {stack.name} has no output {name}: the template must give it")
    return stack.outputs[name]


def _json(candidate: Candidate, path: str) -> dict[str, Any]:
    try:
        status, body = candidate.get(path)
    except OSError as error:
        raise GateFailed(f"{candidate.url}{path} does not answer: {error}") from error
    if status != 200:
        raise GateFailed(f"{candidate.url}{path} answers HTTP {status}, not 200")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise GateFailed(f"{candidate.url}{path} does not answer a JSON object: {body[:80]!r}")
    return answer
