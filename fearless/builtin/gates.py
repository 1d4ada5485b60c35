"""The gates every release has: its machines are healthy, and they run what was released."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from fearless.builtin.aws import explained
from fearless.errors import GateFailed
from fearless.interfaces import Candidate, Cloud, Gate, Stack


def targets_healthy(
    cloud: Cloud,
    timeout: float = 300,
    poll: float = 1,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Gate:
    """Gate `targets`: every target healthy, and at least as many as the group wants.

    Waits up to `timeout` seconds, looking every `poll` seconds. Targets that are being drained
    are on their way out and do not count.
    """

    def check(candidate: Candidate) -> str:
        deadline = clock() + timeout
        while True:
            with explained(f"asking for the health of stack {candidate.stack.name}"):
                states = _states(cloud, candidate.stack)
                wanted = _wanted(cloud, candidate.stack)
            healthy = states["healthy"]
            if healthy == states.total() and healthy >= wanted > 0:
                return f"{healthy} of {states.total()} targets healthy, {wanted} wanted"
            if clock() > deadline:
                seen = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
                raise GateFailed(
                    f"stack {candidate.stack.name}: {seen or 'no targets'} after {timeout:g} s, "
                    f"{wanted} wanted: look at the logs of its instances"
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


def _states(cloud: Cloud, stack: Stack) -> Counter[str]:
    target_group = _output(stack, "TargetGroup")
    descriptions = cloud.client("elbv2").describe_target_health(TargetGroupArn=target_group)[
        "TargetHealthDescriptions"
    ]
    states = Counter(str(one["TargetHealth"]["State"]) for one in descriptions)
    del states["draining"]
    return states


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
