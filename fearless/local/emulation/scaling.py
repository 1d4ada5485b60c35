"""Auto-scaling groups that list the instances the daemon really runs, and those that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from fearless.local.emulation.handlers import after

INSTANCE_KEYS = ("InstanceId", "LifecycleState", "HealthStatus", "AvailabilityZone")


class Failures:
    """What the daemon last reported as failed: group -> `{id, at, reason}`, newest first."""

    def __init__(self) -> None:
        self.groups: Mapping[str, Sequence[Mapping[str, str]]] = {}

    def put(self, groups: Mapping[str, Any]) -> None:
        """Replace the last report; raises KeyError or TypeError for one that is none."""
        self.groups = {
            name: [{key: str(failure[key]) for key in ("id", "at", "reason")} for failure in found]
            for name, found in groups.items()
        }

    def activities(self, group: str, limit: int) -> str:
        """The members of `Activities`: of one group, or of all when it is empty."""
        return "".join(
            f"<member><ActivityId>{failure['id']}</ActivityId>"
            f"<AutoScalingGroupName>{escape(name)}</AutoScalingGroupName>"
            "<Description>Launching a new EC2 instance</Description>"
            "<Cause>The group has fewer instances than it wants.</Cause>"
            f"<StartTime>{failure['at']}</StartTime><EndTime>{failure['at']}</EndTime>"
            "<StatusCode>Failed</StatusCode><Progress>100</Progress>"
            f"<StatusMessage>{escape(failure['reason'])}</StatusMessage></member>"
            for name, found in self.groups.items()
            for failure in found[:limit]
            if group in ("", name)
        )


def report(name: str, instances: Sequence[Mapping[str, Any]]) -> bool:
    """Make the group show exactly these instances; False when there is no such group."""
    from ministack.services import autoscaling

    group = autoscaling._asgs.get(name)
    if group is None:
        return False
    group["Instances"] = [
        {
            **{key: str(instance[key]) for key in INSTANCE_KEYS},
            "ProtectedFromScaleIn": False,
            "LaunchTemplate": group.get("LaunchTemplate") or {},
            "LaunchConfigurationName": "",
        }
        for instance in instances
    ]
    return True


def install(failures: Failures) -> None:
    """Stop MiniStack inventing instances, keep the target groups it drops, say what failed."""
    from ministack.services import autoscaling

    create, render = autoscaling._create_asg, autoscaling._instances_xml
    restore = autoscaling.load_persisted_state

    def keep(name: str, properties: Mapping[str, Any], attributes: Any) -> dict[str, Any]:
        autoscaling._asgs[name]["TargetGroupARNs"] = list(properties.get("TargetGroupARNs") or [])
        return dict(attributes)

    def create_group(params: Mapping[str, Any]) -> Any:
        response = create(params)
        group = autoscaling._asgs.get(autoscaling._p(params, "AutoScalingGroupName"))
        if group is not None and "TargetGroupARNs" not in group:
            group["TargetGroupARNs"] = autoscaling._parse_member_list(params, "TargetGroupARNs")
        return response

    def instances_xml(group: Mapping[str, Any]) -> str:
        arns = group.get("TargetGroupARNs", [])
        members = "".join(f"<member>{escape(arn)}</member>" for arn in arns)
        return f"{render(group)}<TargetGroupARNs>{members}</TargetGroupARNs>"

    def describe_scaling_activities(params: Mapping[str, Any]) -> Any:
        name = autoscaling._p(params, "AutoScalingGroupName")
        limit = int(autoscaling._p(params, "MaxRecords") or 100)
        return autoscaling._xml(
            200,
            "DescribeScalingActivitiesResponse",
            "<DescribeScalingActivitiesResult>"
            f"<Activities>{failures.activities(name, limit)}</Activities>"
            "</DescribeScalingActivitiesResult>",
        )

    def load_persisted_state(state: Mapping[str, Any]) -> None:
        restore(state)
        for group in autoscaling._asgs.all_values():
            group["Instances"] = []

    autoscaling._reconcile_instances = lambda _: None
    autoscaling._instances_xml = instances_xml
    autoscaling._ACTION_MAP["CreateAutoScalingGroup"] = create_group
    autoscaling._ACTION_MAP["DescribeScalingActivities"] = describe_scaling_activities
    autoscaling.load_persisted_state = load_persisted_state
    after("AWS::AutoScaling::AutoScalingGroup", keep)
