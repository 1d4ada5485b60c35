"""Network resources MiniStack lacks: `AWS::EC2::SecurityGroupIngress` and `Vpc.CidrBlock`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from fearless.local.emulation.handlers import after, register


def permission(properties: Mapping[str, Any], account: str) -> dict[str, Any]:
    """The `IpPermission` that the properties of an ingress rule describe."""
    group = properties.get("SourceSecurityGroupId")
    return {
        "IpProtocol": str(properties["IpProtocol"]),
        "FromPort": int(properties.get("FromPort", -1)),
        "ToPort": int(properties.get("ToPort", -1)),
        "IpRanges": [{"CidrIp": properties["CidrIp"]}] if "CidrIp" in properties else [],
        "Ipv6Ranges": [{"CidrIpv6": properties["CidrIpv6"]}] if "CidrIpv6" in properties else [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [{"GroupId": group, "UserId": account}] if group else [],
    }


def install() -> None:
    """Register the ingress rule, and let `!GetAtt Vpc.CidrBlock` answer."""
    from ministack.core.responses import get_account_id
    from ministack.services import ec2

    def create(_logical_id: str, properties: Any, _stack: str) -> tuple[str, dict[str, Any]]:
        rule_id = "sgr-" + uuid.uuid4().hex[:17]
        group = ec2._security_groups.get(properties["GroupId"])
        if group is None:
            raise ValueError(f"The security group '{properties['GroupId']}' does not exist")
        group.setdefault("IpPermissions", []).append(permission(properties, get_account_id()))
        return rule_id, {"Id": rule_id}

    def delete(_physical_id: str, properties: Any) -> None:
        group = ec2._security_groups.get(properties.get("GroupId"))
        rule = permission(properties, get_account_id())
        if group and rule in group.get("IpPermissions", []):
            group["IpPermissions"].remove(rule)

    register("AWS::EC2::SecurityGroupIngress", {"create": create, "delete": delete})
    after(
        "AWS::EC2::VPC",
        lambda _, properties, attributes: {**attributes, "CidrBlock": properties["CidrBlock"]},
    )
    # An AMI is a record here, booted by the daemon; MiniStack would pull it as a container.
    ec2._registered_image = lambda _: None
