"""Load balancers with names on loopback, and targets whose health was really measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from fearless.local.emulation.handlers import after

DOMAIN = "elb.localhost"
STATES = ("initial", "healthy", "unhealthy", "draining", "unused")
REASONS = {
    "initial": ("Elb.InitialHealthChecking", "Initial health checks in progress"),
    "unhealthy": ("Target.FailedHealthChecks", "Health checks failed"),
    "draining": ("Target.DeregistrationInProgress", "Target deregistration is in progress"),
    "unused": ("Target.NotInUse", "Target is not used"),
}

Health = Mapping[str, Mapping[str, Mapping[str, Any]]]


class MeasuredHealth:
    """What the daemon last measured: target group ARN -> target id -> state, port, description."""

    def __init__(self) -> None:
        self.groups: Health = {}

    def targets(
        self, arn: str, registered: list[dict[str, Any]], port: int
    ) -> list[dict[str, Any]]:
        """The group's targets: the registered ones, then those still draining."""
        measured = self.groups.get(arn, {})
        answer = [
            _target(target["Id"], target.get("Port", port), measured.get(target["Id"], {}))
            for target in registered
        ]
        known = {target["Id"] for target in registered}
        answer += [
            _target(id, about.get("port", port), about)
            for id, about in measured.items()
            if id not in known and about.get("state") == "draining"
        ]
        return answer


def _target(id: str, port: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    state = about.get("state", "initial")
    reason, text = REASONS.get(state, ("", ""))
    return {
        "id": id,
        "port": int(port),
        "state": state,
        "reason": reason,
        "description": about.get("description") or text,
    }


def target_xml(target: Mapping[str, Any]) -> str:
    """One member of `TargetHealthDescriptions`."""
    reason = (
        f"<Reason>{target['reason']}</Reason><Description>{escape(target['description'])}</Description>"
        if target["reason"]
        else ""
    )
    return (
        f"<member><Target><Id>{escape(target['id'])}</Id><Port>{target['port']}</Port></Target>"
        f"<HealthCheckPort>{target['port']}</HealthCheckPort>"
        f"<TargetHealth><State>{target['state']}</State>{reason}</TargetHealth></member>"
    )


def dns_name(name: str, arn: str) -> str:
    """`<name>-<id>.elb.localhost`, lower case as DNS names are compared."""
    return f"{name}-{arn.rpartition('/')[2][:8]}.{DOMAIN}".lower()


def install(measured: MeasuredHealth) -> None:
    """Rename load balancers as they are made, and serve measured target health."""
    from ministack.services import alb

    def rename(arn: str, _: Mapping[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
        balancer = alb._lbs[arn]
        balancer["DNSName"] = dns_name(balancer["LoadBalancerName"], arn)
        return {**attributes, "DNSName": balancer["DNSName"]}

    after("AWS::ElasticLoadBalancingV2::LoadBalancer", rename)
    create = alb._create_lb

    def create_load_balancer(params: Mapping[str, Any]) -> Any:
        before = set(alb._lbs.keys())
        status, headers, body = create(params)
        for arn in set(alb._lbs.keys()) - before:
            old = alb._lbs[arn]["DNSName"]
            rename(arn, {}, {})
            body = body.replace(old.encode(), alb._lbs[arn]["DNSName"].encode())
        return status, headers, body

    def describe_target_health(params: Mapping[str, Any]) -> Any:
        arn = alb._p(params, "TargetGroupArn")
        if arn not in alb._tgs:
            return alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")
        port = int(alb._tgs[arn].get("Port", 80))
        targets = measured.targets(arn, alb._targets.get(arn, []), port)
        wanted = {target["Id"] for target in alb._parse_targets_param(params)}
        members = "".join(target_xml(t) for t in targets if not wanted or t["id"] in wanted)
        return alb._xml(
            200,
            "DescribeTargetHealth",
            f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>",
        )

    alb._ACTION_MAP["CreateLoadBalancer"] = create_load_balancer
    alb._ACTION_MAP["DescribeTargetHealth"] = describe_target_health
