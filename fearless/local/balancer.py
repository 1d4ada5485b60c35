"""Load balancers as Caddy configurations: pure functions of what the cloud's API says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]
Targets = Mapping[str, Sequence[str]]
"""Target group ARN -> the `host:port` of each target that gets requests."""

SLOTS = 60
"""Upstreams of a load balancer; so many that up to six targets get equal shares."""

NO_TARGET = "503: no target of this load balancer is healthy yet\n"

LOOPBACK = ("127.0.0.1/32", "::1/128")


@dataclass(frozen=True)
class Rule:
    """Where requests go: `groups` (target group ARNs), or a fixed `status` and `body`.

    `paths` and `hosts` are patterns with `*`; empty ones match everything.
    """

    groups: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    status: int = 503
    body: str = ""


@dataclass(frozen=True)
class Listener:
    """A port of a load balancer, and its rules in order; the default one is last."""

    port: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Balancer:
    """A load balancer. `dns` is its DNS name, normalised."""

    arn: str
    name: str
    dns: str
    listeners: tuple[Listener, ...]

    @property
    def port(self) -> int | None:
        """The port its DNS name is served at; None while it has no listener."""
        return min((listener.port for listener in self.listeners), default=None)

    @property
    def ports(self) -> frozenset[int]:
        """The ports it listens on."""
        return frozenset(listener.port for listener in self.listeners)

    @property
    def url(self) -> str | None:
        """Its base URL on this machine; None while it has no listener."""
        return f"http://{self.dns}:{self.port}" if self.port else None

    @property
    def groups(self) -> frozenset[str]:
        """Every target group it sends requests to."""
        return frozenset(
            arn for listener in self.listeners for rule in listener.rules for arn in rule.groups
        )


def normal_name(name: str) -> str:
    """A DNS name as names are compared: lower case, no final dot, no `dualstack.`."""
    return name.lower().rstrip(".").removeprefix("dualstack.")


def rule(actions: Sequence[Mapping[str, Any]], conditions: Iterable[Mapping[str, Any]]) -> Rule:
    """The rule that ELB's `Actions` and `Conditions` describe."""
    paths: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    for condition in conditions:
        values = tuple(
            condition.get("Values")
            or condition.get("PathPatternConfig", {}).get("Values")
            or condition.get("HostHeaderConfig", {}).get("Values")
            or ()
        )
        if condition["Field"] == "path-pattern":
            paths = values
        elif condition["Field"] == "host-header":
            hosts = values
        else:
            field = condition["Field"]
            return Rule(paths=paths, hosts=hosts, status=501, body=f"{field} is not emulated\n")
    action: Mapping[str, Any] = actions[-1] if actions else {"Type": "nothing"}
    if action["Type"] == "forward":
        weighted = action.get("ForwardConfig", {}).get("TargetGroups", [])
        arns = [action["TargetGroupArn"]] if action.get("TargetGroupArn") else []
        arns += [g["TargetGroupArn"] for g in weighted if g.get("Weight", 1) > 0]
        return Rule(tuple(dict.fromkeys(arns)), paths, hosts)
    if action["Type"] == "fixed-response":
        fixed: Mapping[str, Any] = action.get("FixedResponseConfig", {})
        status, body = int(fixed.get("StatusCode", 503)), fixed.get("MessageBody", "")
        return Rule((), paths, hosts, status, body)
    return Rule((), paths, hosts, 501, f"action {action['Type']} is not emulated\n")


# ------------------------------------------------------------------ Caddy


def skeleton(socket: str) -> Config:
    """A Caddy with an admin socket and nothing to serve."""
    return {
        "admin": {"listen": f"unix/{socket}", "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": {"http": {"grace_period": "10s", "servers": {}}},
    }


def server(fd: int, routes: Sequence[Config]) -> Config:
    """A plain HTTP server that believes X-Forwarded-* of loopback clients only.

    It is given its listening socket: one that Caddy opened by itself would be opened anew for
    each configuration, and what waited to be accepted by the old one would be lost.
    """
    return {
        "listen": [f"fd/{fd}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "trusted_proxies": {"source": "static", "ranges": list(LOOPBACK)},
        "routes": list(routes),
    }


def proxy(pool: str, slots: int = SLOTS) -> Config:
    """Send to the upstreams in the files of `pool` in turn, on fresh connections.

    A refused connection is tried on another upstream, and so is a GET whose upstream died
    before it answered. Kept connections would turn an instance's death into an error of a
    request that cannot be repeated.
    """
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{{file.{pool}/{slot}}}"} for slot in range(slots)],
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": "5s",
            "try_interval": "20ms",
        },
        "transport": {
            "protocol": "http",
            "dial_timeout": "2s",
            "keep_alive": {"enabled": False},
        },
    }


def reply(status: int, body: str) -> Config:
    """Answer this text."""
    return {
        "handler": "static_response",
        "status_code": str(status),
        "headers": {"Content-Type": ["text/plain; charset=utf-8"]},
        "body": body,
    }


def routes(rule: Rule, pools: str) -> list[Config]:
    """The Caddy routes of one rule: its targets while there are any, else the reason."""
    match: Config = {}
    if rule.paths:
        match["path"] = list(rule.paths)
    if rule.hosts:
        match["host"] = list(rule.hosts)
    if not rule.groups:
        return [_route(match, reply(rule.status, rule.body))]
    pool = f"{pools}/{pool_name(rule.groups)}"
    up = {**match, "vars": {f"{{file.{pool}/state}}": ["up"]}}
    return [
        _route(up, proxy(pool)),
        _route(match, reply(503, f"{{file.{pool}/reason}}")),
    ]


def _route(match: Config, handler: Config) -> Config:
    return {**({"match": [match]} if match else {}), "handle": [handler], "terminal": True}


def pool_name(groups: Sequence[str]) -> str:
    """The directory of the files that say who gets the requests for these target groups."""
    return hashlib.sha256("\n".join(groups).encode()).hexdigest()[:16]


def pool_files(targets: Sequence[str], reason: str, slots: int = SLOTS) -> dict[str, str]:
    """File name -> content, in the order to write them; `reason` is told while there is none.

    Each slot holds a target, and each target as many slots as any other, or one less.
    """
    if not targets:
        return {"reason": reason, "state": "down"}
    filled = {str(slot): targets[slot % len(targets)] for slot in range(slots)}
    return {**filled, "state": "up"}


def balancer_config(balancer: Balancer, socket: str, fds: Mapping[int, int], pools: str) -> Config:
    """What the Caddy of a load balancer serves.

    `fds`: port -> its listening socket. Targets are read from the files in `pools` for each
    request: a new configuration would lose the connections it finds accepted but not yet read.
    """
    config = skeleton(socket)
    config["apps"]["http"]["servers"] = {
        f"port-{listener.port}": server(
            fds[listener.port],
            [route for rule in listener.rules for route in routes(rule, pools)],
        )
        for listener in balancer.listeners
    }
    return config


def edge_config(socket: str, fd: int, pool: str) -> Config:
    """What users reach: the load balancer the name points at, or 503 and why there is none."""
    up = {"vars": {f"{{file.{pool}/state}}": ["up"]}}
    config = skeleton(socket)
    config["apps"]["http"]["servers"] = {
        "edge": server(
            fd,
            [
                _route(up, proxy(pool, slots=1)),
                _route({}, reply(503, f"{{file.{pool}/reason}}")),
            ],
        )
    }
    return config


def alias_target(records: Iterable[Mapping[str, Any]], name: str) -> str | None:
    """The DNS name that a zone's records point `name` at; the heaviest of weighted ones."""
    candidates = []
    for record in records:
        if normal_name(record["Name"]) != normal_name(name):
            continue
        target = None
        if record["Type"] in ("A", "AAAA") and "AliasTarget" in record:
            target = record["AliasTarget"]["DNSName"]
        elif record["Type"] == "CNAME" and record.get("ResourceRecords"):
            target = record["ResourceRecords"][0]["Value"]
        if target:
            candidates.append((int(record.get("Weight", 1)), normal_name(target)))
    return max(candidates, key=lambda c: c[0])[1] if candidates else None


def edge_upstream(
    name: str, target: str | None, balancers: Iterable[Balancer]
) -> tuple[str | None, str]:
    """`(upstream, why there is none)` for a name whose record points at `target`."""
    if not name:
        return None, "503: release.toml names no domain: set [dns] name\n"
    if target is None:
        return None, f"503: no release of {name} is live yet: run `doit release`\n"
    for balancer in balancers:
        if balancer.dns == target and balancer.port:
            return f"127.0.0.1:{balancer.port}", ""
    return None, f"503: {name} points at {target}, which no load balancer answers to\n"
