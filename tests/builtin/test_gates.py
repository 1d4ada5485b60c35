"""The built-in gates pass what is healthy and is the release, and say why they do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.builtin.gates import shows_sha, targets_healthy
from fearless.errors import GateFailed
from fearless.interfaces import Candidate, Stack
from fearless.testing.fakes import FakeCloud, SilentReport
from tests.stacks import SHA, release

OF = release()
OUTPUTS = {"TargetGroup": "arn:tg", "AutoScalingGroup": "group"}


class Machines:
    """elbv2 and autoscaling: each look at the targets takes the next list of their states.

    `said` is what the load balancer says of those that are not healthy; `activities` gives the
    group's activities at the time that is passed to it.
    """

    def __init__(self, wanted: int | None, *looks: str, said: str = "") -> None:
        self.wanted = wanted
        self.looks = [look.split() for look in looks]
        self.said = said
        self.slept: list[float] = []
        self.activities: Callable[[float], list[dict[str, Any]]] = lambda seconds: []

    def describe_target_health(self, TargetGroupArn: str) -> Any:
        assert TargetGroupArn == "arn:tg"
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return {"TargetHealthDescriptions": [{"TargetHealth": self._health(s)} for s in look]}

    def _health(self, state: str) -> dict[str, str]:
        described = self.said and state != "healthy"
        return {"State": state, **({"Description": self.said} if described else {})}

    def describe_scaling_activities(self, AutoScalingGroupName: str, MaxRecords: int) -> Any:
        assert (AutoScalingGroupName, MaxRecords) == ("group", 100)
        return {"Activities": self.activities(sum(self.slept))}

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> Any:
        assert AutoScalingGroupNames == ["group"]
        groups = [] if self.wanted is None else [{"DesiredCapacity": self.wanted}]
        return {"AutoScalingGroups": groups}

    def ask(self, timeout: float = 3, report: SilentReport | None = None) -> str:
        cloud = FakeCloud({"elbv2": self, "autoscaling": self})
        gate = targets_healthy(
            cloud,
            timeout=timeout,
            poll=1,
            sleep=self.slept.append,
            clock=lambda: sum(self.slept),
            report=report,
        )
        assert gate.name == "targets"
        return gate.check(candidate())


def candidate(*answers: Any, outputs: dict[str, str] = OUTPUTS) -> Candidate:
    """A candidate whose GET answers those, one after the other, the last one for ever."""
    left = list(answers)

    def get(path: str) -> tuple[int, bytes]:
        assert path == "/__release"
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()

    def post(path: str, body: Any) -> tuple[int, bytes]:
        raise AssertionError("gates do not write")

    stack = Stack(
        OF.stack_name, "arn", "CREATE_COMPLETE", "release", "", "", datetime.now(UTC), outputs
    )
    return Candidate(OF, stack, "http://candidate", get, post)


def test_healthy_targets_pass_at_once() -> None:
    machines = Machines(2, "healthy healthy")
    assert machines.ask() == "2 of 2 targets healthy, 2 wanted"
    assert machines.slept == []


def test_targets_that_become_healthy_are_waited_for() -> None:
    machines = Machines(2, "", "initial", "healthy initial", "healthy healthy draining")
    assert machines.ask() == "2 of 2 targets healthy, 2 wanted"
    assert machines.slept == [1, 1, 1]


@pytest.mark.parametrize(
    ("wanted", "states", "said"),
    [
        (2, "healthy", "1 healthy after 3 s, 2 wanted"),
        (2, "healthy healthy unhealthy", "2 healthy, 1 unhealthy after 3 s, 2 wanted"),
        (0, "", "no targets after 3 s, 0 wanted"),
        (0, "healthy", "1 healthy after 3 s, 0 wanted"),
        (None, "healthy", "1 healthy after 3 s, 0 wanted"),
        (1, "draining", "no targets after 3 s, 1 wanted"),
    ],
)
def test_fewer_than_wanted_or_any_unhealthy_fails(
    wanted: int | None, states: str, said: str
) -> None:
    with pytest.raises(GateFailed, match=said):
        Machines(wanted, states).ask()


BEGAN = datetime(2026, 11, 23, tzinfo=UTC)


def failure(number: int, at: float, **about: str) -> dict[str, Any]:
    """A scaling activity that failed `at` seconds after BEGAN."""
    return {
        "ActivityId": f"a-{number}",
        "StartTime": BEGAN + timedelta(seconds=at),
        "StatusCode": "Failed",
        "Cause": "The group has fewer instances than it wants.",
        "StatusMessage": f"i-{number}: ended with exit code 1: boom",
        **about,
    }


def dying(seconds: float, earlier: int = 0) -> list[dict[str, Any]]:
    """One more failure each second, newest first."""
    return [failure(n, n) for n in range(earlier + int(seconds), 0, -1)]


def test_instances_that_keep_ending_fail_it_early_and_say_why(report: SilentReport) -> None:
    machines = Machines(2, "", "initial", "")
    machines.activities = dying
    with pytest.raises(GateFailed) as caught:
        machines.ask(300, report)
    assert caught.value.args[0] == (
        f"stack {OF.stack_name}: no targets, 2 wanted, and its instances keep ending, 5 so far: "
        "i-5: ended with exit code 1: boom"
    )
    assert len(machines.slept) == 5
    assert report.notes[:2] == ["no targets", "1 initial; i-1: ended with exit code 1: boom"]


def test_what_ended_before_it_looked_is_a_reason_to_wait_for_one_more() -> None:
    machines = Machines(2, "")
    machines.activities = lambda seconds: dying(seconds // 3, earlier=20)
    with pytest.raises(GateFailed, match="keep ending, 21 so far: i-21"):
        machines.ask(300)
    assert len(machines.slept) == 3
    mended = Machines(2, "", "", "", "healthy healthy")
    mended.activities = lambda seconds: dying(20)
    assert mended.ask() == "2 of 2 targets healthy, 2 wanted"


def test_what_ended_long_ago_does_not_count() -> None:
    machines = Machines(1, "initial")
    machines.activities = lambda at: [failure(100 + int(at), 3600 + at), *dying(8)]
    with pytest.raises(GateFailed, match="1 initial after 3 s, 1 wanted"):
        machines.ask()


@pytest.mark.parametrize("check", ["ELB system health check", "EC2 instance status checks"])
def test_instances_replaced_for_their_health_are_losses(check: str) -> None:
    cause = f"At 2026 an instance was taken out of service in response to an {check} failure."
    machines = Machines(1, "initial")

    def activities(seconds: float) -> list[dict[str, Any]]:
        replaced = [
            {**failure(n, n), "StatusCode": "Successful", "StatusMessage": "", "Cause": cause}
            for n in range(int(seconds), 0, -1)
        ]
        launched = failure(99, 99, StatusCode="Successful", StatusMessage="")
        return [launched, *replaced]

    machines.activities = activities
    with pytest.raises(GateFailed, match=r"keep ending, 3 so far: At 2026 an instance was taken"):
        machines.ask(300)


def test_what_the_load_balancer_says_is_the_reason() -> None:
    codes = "Health checks failed with these codes: [500]"
    with pytest.raises(GateFailed) as caught:
        Machines(2, "healthy unhealthy unhealthy", said=codes).ask()
    assert str(caught.value).endswith(f"1 healthy, 2 unhealthy after 3 s, 2 wanted: {codes}")


def test_without_the_right_to_ask_for_activities_it_only_waits() -> None:
    machines = Machines(1, "initial", "healthy")

    def refused(seconds: float) -> list[dict[str, Any]]:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "Describe")

    machines.activities = refused
    assert machines.ask() == "1 of 1 targets healthy, 1 wanted"


def test_a_template_without_the_outputs_is_named() -> None:
    gate = targets_healthy(FakeCloud({"elbv2": None}))
    with pytest.raises(GateFailed, match="has no output TargetGroup: the template must give it"):
        gate.check(candidate(outputs={}))


RIGHT = {"sha": SHA, "stack": OF.stack_name, "release": OF.name}


def test_the_release_shows_itself_every_time() -> None:
    gate = shows_sha("/__release", times=3)
    assert gate.name == "release"
    assert gate.check(candidate(RIGHT)) == "/__release showed 4f2a9c1 3 times out of 3"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (RIGHT | {"sha": "0" * 40}, f"says sha '{'0' * 40}', not '{SHA}'"),
        (RIGHT | {"sha": SHA[:7]}, f"says sha '{SHA[:7]}', not '{SHA}'"),
        (RIGHT | {"stack": "shop-r-old"}, f"says stack 'shop-r-old', not '{OF.stack_name}'"),
        ({}, "says sha None"),
        ([RIGHT], "does not answer a JSON object"),
        (b"<html>", "does not answer a JSON object: b'<html>'"),
        ((503, b""), "answers HTTP 503, not 200"),
        (ConnectionRefusedError("refused"), "does not answer: refused"),
    ],
)
def test_one_wrong_answer_among_many_fails(answer: Any, said: str) -> None:
    with pytest.raises(GateFailed) as caught:
        shows_sha("/__release").check(candidate(RIGHT, RIGHT, answer, RIGHT))
    assert said in str(caught.value)
    assert "http://candidate/__release" in str(caught.value)
