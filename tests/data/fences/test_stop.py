"""Fencing by stopping the application, with the real service's shapes."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.data.fences import Fence
from fearless.data.fences.stop import StopFence
from fearless.errors import FearlessError, Refused
from tests.data.fences.given import Clock, Notes


class Groups:
    """Auto-scaling groups whose instances go one by one, at each look."""

    def __init__(self, **desired: int) -> None:
        self.stuck = False
        self.groups: dict[str, dict[str, Any]] = {
            name: {
                "AutoScalingGroupName": name,
                "MinSize": 1,
                "MaxSize": 9,
                "DesiredCapacity": count,
                "Instances": [{"InstanceId": f"{name}-{n}"} for n in range(count)],
            }
            for name, count in desired.items()
        }

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> Any:
        for group in self.groups.values():
            if len(group["Instances"]) > group["DesiredCapacity"] and not self.stuck:
                group["Instances"].pop()
        found = [self.groups[name] for name in AutoScalingGroupNames if name in self.groups]
        return {"AutoScalingGroups": [dict(group) for group in found]}

    def update_auto_scaling_group(self, AutoScalingGroupName: str, **sizes: int) -> None:
        assert set(sizes) == {"MinSize", "MaxSize", "DesiredCapacity"}
        self.groups[AutoScalingGroupName].update(sizes)

    def sizes(self, name: str) -> tuple[int, int, int]:
        group = self.groups[name]
        return group["MinSize"], group["MaxSize"], group["DesiredCapacity"]


def stop(groups: Any, notes: Notes, *names: str) -> StopFence:
    clock = Clock()
    return StopFence(groups, names or ("web", "jobs"), notes, clock=clock, sleep=clock.sleep)


def test_stopped_and_started_again(report: Any) -> None:
    groups, notes = Groups(web=3, jobs=1), Notes()
    made: Fence = stop(groups, notes)
    assert not made.timed
    made.fence(1, 75)
    assert notes.rows["stop web"] == {
        "MinSize": 1,
        "MaxSize": 9,
        "DesiredCapacity": 3,
        "stopped": True,
        "attempt": 1,
    }
    assert not made.fenced()
    assert made.confirm(report) == "no instance is left in web, jobs"
    assert made.fenced()
    stop(groups, notes).fence(1, None)
    stop(groups, notes).unfence(1)
    assert groups.sizes("web") == (1, 9, 3)
    assert groups.sizes("jobs") == (1, 9, 1)
    made.unfence(1)
    assert not made.fenced()


def test_sizes_are_remembered_before_anything_is_changed() -> None:
    groups, notes = Groups(web=3), Notes()

    def dies(**_: Any) -> None:
        raise KeyboardInterrupt

    plain = groups.update_auto_scaling_group
    groups.update_auto_scaling_group = dies  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        stop(groups, notes, "web").fence(1, None)
    groups.update_auto_scaling_group = plain  # type: ignore[method-assign]
    stop(groups, notes, "web").fence(1, None)
    stop(groups, notes, "web").unfence(1)
    assert groups.sizes("web") == (1, 9, 3)


def test_an_earlier_attempt_starts_and_stops_nothing() -> None:
    groups, notes = Groups(web=3), Notes()
    made = stop(groups, notes, "web")
    made.fence(1, None)
    made.fence(2, None)
    made.unfence(1)
    assert groups.sizes("web") == (0, 0, 0)
    made.unfence(2)
    made.fence(1, None)
    assert groups.sizes("web") == (1, 9, 3)


def test_instances_that_stay_and_groups_that_are_not_there(report: Any) -> None:
    groups = Groups(web=2)
    groups.stuck = True
    made = stop(groups, Notes(), "web")
    made.fence(1, None)
    with pytest.raises(FearlessError, match="2 instances of web are still there after 600 s"):
        made.confirm(report)
    with pytest.raises(Refused, match="no auto-scaling group other"):
        stop(groups, Notes(), "other").fence(1, None)


def test_somebody_who_resizes_is_seen(report: Any) -> None:
    groups = Groups(web=0)
    made = stop(groups, Notes(), "web")
    with pytest.raises(FearlessError, match="somebody else resized web"):
        made.confirm(report)

    def denied(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "Throttling", "Message": "slow"}}, "x")

    groups.update_auto_scaling_group = denied  # type: ignore[method-assign, assignment]
    with pytest.raises(FearlessError, match="resizing auto-scaling group web"):
        made.fence(1, None)
    groups.describe_auto_scaling_groups = denied  # type: ignore[method-assign, assignment]
    with pytest.raises(FearlessError, match="reading auto-scaling groups"):
        made.fenced()
