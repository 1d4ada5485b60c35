"""The built-in gates pass what is healthy and is the release, and say why they do not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fearless.builtin.gates import shows_sha, targets_healthy
from fearless.errors import GateFailed
from fearless.interfaces import Candidate, Stack
from fearless.testing.fakes import FakeCloud
from tests.stacks import SHA, release

OF = release()
OUTPUTS = {"TargetGroup": "arn:tg", "AutoScalingGroup": "group"}


class Machines:
    """elbv2 and autoscaling: each look at the targets takes the next list of their states."""

    def __init__(self, wanted: int | None, *looks: str) -> None:
        self.wanted = wanted
        self.looks = [look.split() for look in looks]
        self.slept: list[float] = []

    def describe_target_health(self, TargetGroupArn: str) -> Any:
        assert TargetGroupArn == "arn:tg"
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return {"TargetHealthDescriptions": [{"TargetHealth": {"State": state}} for state in look]}

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> Any:
        assert AutoScalingGroupNames == ["group"]
        groups = [] if self.wanted is None else [{"DesiredCapacity": self.wanted}]
        return {"AutoScalingGroups": groups}

    def ask(self) -> str:
        cloud = FakeCloud({"elbv2": self, "autoscaling": self})
        gate = targets_healthy(
            cloud, timeout=3, poll=1, sleep=self.slept.append, clock=lambda: sum(self.slept)
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
