"""What runs, as the daemon reports it: to the emulator, to `status.json`, and to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fearless.local.fleet import Fleet
from fearless.local.front import Front
from fearless.local.instance import Instance
from fearless.local.world import World

LIFECYCLE = {
    "preparing": "Pending",
    "running": "Pending",
    "draining": "Terminating",
    "stopping": "Terminating",
    "dead": "Terminated",
}


def health_report(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """Target group -> target -> what `describe_target_health` answers."""
    report: dict[str, dict[str, Any]] = {}
    for instance in fleet.instances.values():
        for arn, health in instance.health.items():
            report.setdefault(arn, {})[instance.id] = {
                "state": health.state if instance.member else "draining",
                "port": instance.port,
                "description": health.description,
            }
    return report


def group_report(fleet: Fleet, name: str) -> list[dict[str, str]]:
    """What `describe_auto_scaling_groups` lists as the group's instances."""
    return [
        {
            "InstanceId": instance.id,
            "LifecycleState": "InService" if instance.healthy else LIFECYCLE[instance.state],
            "HealthStatus": "Unhealthy" if _unhealthy(instance) else "Healthy",
            "AvailabilityZone": instance.zone,
        }
        for instance in fleet.instances.values()
        if instance.group == name
    ]


def failure_report(fleet: Fleet) -> dict[str, list[dict[str, str]]]:
    """Group -> what `describe_scaling_activities` answers: its latest failures, newest first."""
    return {
        name: [{"id": f.id, "at": f.at, "reason": f.reason} for f in trouble.history]
        for name, trouble in fleet.troubles.items()
    }


def _unhealthy(instance: Instance) -> bool:
    return any(health.state == "unhealthy" for health in instance.health.values())


def snapshot(world: World, fleet: Fleet, front: Front, emulator: str) -> dict[str, Any]:
    """Everything `fearless local status` shows."""
    return {
        "emulator": emulator,
        "public": {
            "name": front.domain,
            "url": f"http://localhost:{front.port}",
            "target": front.target,
            "problem": front.problem,
        },
        "balancers": [
            {
                "name": balancer.name,
                "dns": balancer.dns,
                "url": balancer.url,
                "problem": front.problem_of(balancer),
                "targets": [
                    {"id": i.id, "port": i.port, "state": h.state, "description": h.description}
                    for i in fleet.instances.values()
                    for arn, h in i.health.items()
                    if arn in balancer.groups
                ],
            }
            for balancer in world.balancers
        ],
        "groups": [
            {
                "name": group.name,
                "desired": group.desired,
                "failures": trouble.failures if trouble else 0,
                "problem": trouble.reason if trouble else "",
                "at": trouble.at if trouble else "",
                "log": list(trouble.lines) if trouble else [],
            }
            for group in world.groups.values()
            for trouble in [fleet.troubles.get(group.name)]
        ],
        "instances": [_instance(instance) for instance in fleet.instances.values()],
    }


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "group": instance.group,
        "stack": instance.env.get("FEARLESS_STACK", ""),
        "state": instance.state,
        "healthy": instance.healthy,
        "pid": instance.pid,
        "port": instance.port,
        "image": instance.image,
        "mode": instance.prepared.mode if instance.prepared else "",
        "reason": instance.reason or _why(instance.health),
        "log": str(instance.log),
    }


def _why(health: Mapping[str, Any]) -> str:
    return "; ".join(h.description for h in health.values() if h.description)
