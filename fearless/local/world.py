"""What the daemon reads from the emulator, through the same public API as everyone."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fearless.local.balancer import Balancer, Listener, alias_target, normal_name, rule
from fearless.local.health import Check
from fearless.local.source import override_name, release_env

Client = Callable[[str], Any]


@dataclass(frozen=True)
class Launch:
    """What an instance of a group is launched with. `role` is an ARN, or empty."""

    image_id: str
    instance_type: str
    user_data: str
    profile: str
    security_groups: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def env(self) -> dict[str, str]:
        """The variables of its release.env."""
        return release_env(self.user_data)


@dataclass(frozen=True)
class Group:
    """An auto-scaling group. `grace` is in seconds."""

    name: str
    desired: int
    template: str
    version: str
    subnets: tuple[str, ...]
    targets: tuple[str, ...]
    checks_balancer: bool
    grace: float
    tags: Mapping[str, str]


@dataclass(frozen=True)
class TargetGroup:
    """A target group: how to check its targets, who they are, and how long they drain."""

    arn: str
    check: Check
    delay: float
    registered: Mapping[str, int]


@dataclass(frozen=True)
class World:
    """Everything the reconcile loop compares with what runs."""

    groups: Mapping[str, Group]
    target_groups: Mapping[str, TargetGroup]
    balancers: tuple[Balancer, ...]
    instances: Mapping[str, str]
    alias: str | None
    images: Mapping[str, str]
    """Stack name -> value of its image parameter."""


def read(client: Client, domain: str) -> World:
    """Ask the emulator. Raises what boto3 raises."""
    return World(
        groups=read_groups(client("autoscaling")),
        target_groups=read_target_groups(client("elbv2")),
        balancers=read_balancers(client("elbv2")),
        instances=read_instances(client("ec2")),
        alias=read_alias(client("route53"), domain) if domain else None,
        images=read_images(client("ssm")),
    )


def pages(client: Any, operation: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
    """Every element under `key` of every page."""
    answers = client.get_paginator(operation).paginate(**arguments)
    return [element for page in answers for element in page.get(key, ())]


def read_groups(autoscaling: Any) -> dict[str, Group]:
    """The auto-scaling groups, by name."""
    found = pages(autoscaling, "describe_auto_scaling_groups", "AutoScalingGroups")
    return {group["AutoScalingGroupName"]: _group(group) for group in found}


def _group(group: Mapping[str, Any]) -> Group:
    template = group.get("LaunchTemplate", {})
    return Group(
        name=group["AutoScalingGroupName"],
        desired=group["DesiredCapacity"],
        template=template.get("LaunchTemplateId") or template.get("LaunchTemplateName", ""),
        version=template.get("Version", "$Default"),
        subnets=tuple(s for s in group.get("VPCZoneIdentifier", "").split(",") if s),
        targets=tuple(group.get("TargetGroupARNs", ())),
        checks_balancer=group.get("HealthCheckType") == "ELB",
        grace=float(group.get("HealthCheckGracePeriod", 300)),
        tags={t["Key"]: t["Value"] for t in group.get("Tags", ()) if t.get("PropagateAtLaunch")},
    )


def read_target_groups(elb: Any) -> dict[str, TargetGroup]:
    """The target groups, by ARN."""
    return {
        group["TargetGroupArn"]: _target_group(elb, group)
        for group in pages(elb, "describe_target_groups", "TargetGroups")
    }


def _target_group(elb: Any, group: Mapping[str, Any]) -> TargetGroup:
    arn = group["TargetGroupArn"]
    attributes = elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
    found = {a["Key"]: a["Value"] for a in attributes}
    targets = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return TargetGroup(
        arn,
        Check(
            path=group.get("HealthCheckPath") or "/",
            matcher=group.get("Matcher", {}).get("HttpCode") or "200",
            timeout=min(float(group.get("HealthCheckTimeoutSeconds") or 5), 5.0),
            rise=int(group.get("HealthyThresholdCount") or 2),
            fall=int(group.get("UnhealthyThresholdCount") or 2),
        ),
        float(found.get("deregistration_delay.timeout_seconds", 300)),
        {
            t["Target"]["Id"]: int(t["Target"]["Port"])
            for t in targets
            if t["TargetHealth"]["State"] != "draining"
        },
    )


def read_balancers(elb: Any) -> tuple[Balancer, ...]:
    """The load balancers with their listeners and rules, by ARN."""
    balancers = []
    for found in pages(elb, "describe_load_balancers", "LoadBalancers"):
        arn = found["LoadBalancerArn"]
        listeners = tuple(
            Listener(listener["Port"], _rules(elb, listener))
            for listener in pages(elb, "describe_listeners", "Listeners", LoadBalancerArn=arn)
        )
        name = found["LoadBalancerName"]
        balancers.append(Balancer(arn, name, normal_name(found["DNSName"]), listeners))
    return tuple(sorted(balancers, key=lambda balancer: balancer.arn))


def _rules(elb: Any, listener: Mapping[str, Any]) -> tuple[Any, ...]:
    found = elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
    ordered = sorted(
        (r for r in found if r["Priority"] != "default"), key=lambda r: int(r["Priority"])
    )
    default = rule(listener.get("DefaultActions", ()), ())
    return (*(rule(r["Actions"], r.get("Conditions", ())) for r in ordered), default)


def read_instances(ec2: Any) -> dict[str, str]:
    """Instance id -> the group that launched it (empty for none), of those not terminated."""
    states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found = {}
    for reservation in pages(ec2, "describe_instances", "Reservations", Filters=states):
        for instance in reservation["Instances"]:
            tags = {t["Key"]: t["Value"] for t in instance.get("Tags", ())}
            found[instance["InstanceId"]] = tags.get("aws:autoscaling:groupName", "")
    return found


def read_alias(route53: Any, domain: str) -> str | None:
    """The DNS name that the record of `domain` points at, in whichever zone holds it."""
    wanted = normal_name(domain)
    for zone in pages(route53, "list_hosted_zones", "HostedZones"):
        apex = normal_name(zone["Name"])
        if wanted == apex or wanted.endswith(f".{apex}"):
            records = pages(
                route53, "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone["Id"]
            )
            if target := alias_target(records, domain):
                return target
    return None


def read_images(ssm: Any) -> dict[str, str]:
    """The image parameters of dev stacks, by stack name."""
    found = pages(ssm, "get_parameters_by_path", "Parameters", Path="/fearless/", Recursive=True)
    names = {p["Name"]: p["Value"] for p in found}
    stacks = {name.split("/")[2] for name in names if name.count("/") >= 3}
    return {s: names[override_name(s)] for s in stacks if override_name(s) in names}


def read_launch(client: Client, group: Group) -> Launch:
    """What the group's launch template says now."""
    key = "LaunchTemplateId" if group.template.startswith("lt-") else "LaunchTemplateName"
    (version,) = client("ec2").describe_launch_template_versions(
        **{key: group.template, "Versions": [group.version]}
    )["LaunchTemplateVersions"]
    data = version["LaunchTemplateData"]
    tags = {
        tag["Key"]: tag["Value"]
        for spec in data.get("TagSpecifications", ())
        if spec["ResourceType"] == "instance"
        for tag in spec.get("Tags", ())
    }
    profile = data.get("IamInstanceProfile", {})
    return Launch(
        image_id=data.get("ImageId", ""),
        instance_type=data.get("InstanceType", "t3.small"),
        user_data=base64.b64decode(data.get("UserData", "")).decode(),
        profile=profile.get("Name") or profile.get("Arn", "").rpartition("/")[2],
        security_groups=tuple(data.get("SecurityGroupIds", ())),
        tags={**tags, **group.tags},
    )


def read_role(iam: Any, profile: str) -> str:
    """The ARN of the role in an instance profile; empty when there is none."""
    if not profile:
        return ""
    roles = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    return str(roles[0]["Arn"]) if roles else ""
