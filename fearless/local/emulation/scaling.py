"""Auto-scaling groups that list the instances the daemon really runs, and no invented ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from fearless.local.emulation.handlers import after

INSTANCE_KEYS = ("InstanceId", "LifecycleState", "HealthStatus", "AvailabilityZone")


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


def install() -> None:
    """Stop MiniStack inventing instances, and keep the target groups it drops."""
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

    def load_persisted_state(state: Mapping[str, Any]) -> None:
        restore(state)
        for group in autoscaling._asgs.all_values():
            group["Instances"] = []

    autoscaling._reconcile_instances = lambda _: None
    autoscaling._instances_xml = instances_xml
    autoscaling._ACTION_MAP["CreateAutoScalingGroup"] = create_group
    autoscaling.load_persisted_state = load_persisted_state
    after("AWS::AutoScaling::AutoScalingGroup", keep)
