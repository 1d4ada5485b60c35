"""Point the app's name at one stack with a Route 53 alias record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fearless.builtin.aws import code, explained, message
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.interfaces import Cloud, Stack

Record = Mapping[str, Any]


class Route53:
    """One alias A record, moved by compare-and-swap in one change batch.

    `zone` is the hosted zone's domain, `name` the full name of the record in it. An alias
    has no TTL of its own: resolvers keep a load balancer's for 60 seconds. `timeout` and `poll`
    (seconds) bound the wait until all name servers know a change.
    `create_zone` makes a missing zone, for clouds where nobody owns the domain.
    """

    def __init__(
        self,
        cloud: Cloud,
        zone: str,
        name: str,
        timeout: float = 300,
        poll: float = 1,
        create_zone: bool = False,
    ) -> None:
        self._cloud = cloud
        self._zone = normal(zone)
        self._name = normal(name)
        self._timeout = timeout
        self._poll = poll
        self._create_zone = create_zone
        if not f".{self._name}".endswith(f".{self._zone}"):
            raise ConfigError(
                f"[dns] in release.toml: name {self._name!r} is not in zone {self._zone!r}"
            )

    def current(self) -> str | None:
        """The name the record points at, normalised; None without record or zone.

        For a record that is no alias, what it says instead; it matches no load balancer.
        """
        with explained(f"reading the DNS record {self._name}"):
            zone = self._find_zone()
            record = self._record(zone) if zone else None
        return points_at(record) if record else None

    def point(self, target: Stack, expected: str | None) -> None:
        """Make the record an alias of the stack's load balancer; wait until it is answered.

        The record must point at `expected` (None: there must be none), or at the stack already.
        Raises Refused, naming what it is, when it does not, also when somebody else moves it
        at the same moment.
        """
        wanted = alias(self._name, target)
        with explained(f"pointing {self._name} at {target.name}"):
            zone = self._find_zone() or self._made_zone()
            record = self._record(zone)
            now = points_at(record) if record else None
            before = normal(expected) if expected else None
            if now not in (before, points_at(wanted)):
                raise Refused(self._moved(now, before))
            self._wait_in_sync(self._swap(zone, record, wanted, before))

    def names(self, target: Stack) -> list[str]:
        """Every name of the zone that leads to the stack's load balancer, sorted."""
        host = normal(target.outputs["LoadBalancerDNS"])
        with explained(f"looking for names of {target.name}"):
            zone = self._find_zone()
            if zone is None:
                return []
            pages = self._api.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone)
            return sorted(
                normal(record["Name"])
                for page in pages
                for record in page["ResourceRecordSets"]
                if host in points_at(record).split(", ")
            )

    def _swap(self, zone: str, record: Record | None, wanted: Record, expected: str | None) -> str:
        """Delete exactly `record` and create `wanted`, both or neither; the change's id."""
        from botocore.exceptions import ClientError

        changes = [{"Action": "CREATE", "ResourceRecordSet": wanted}]
        if record:
            changes.insert(0, {"Action": "DELETE", "ResourceRecordSet": record})
        try:
            answer = self._api.change_resource_record_sets(
                HostedZoneId=zone, ChangeBatch={"Comment": "fearless", "Changes": changes}
            )
        except ClientError as error:
            if code(error) != "InvalidChangeBatch":
                raise
            now = self._record(zone)
            if now == record:
                raise FearlessError(
                    f"Route 53 does not accept the record {self._name}: {message(error)}"
                ) from error
            raise Refused(self._moved(points_at(now) if now else None, expected)) from error
        return str(answer["ChangeInfo"]["Id"])

    def _moved(self, now: str | None, expected: str | None) -> str:
        return (
            f"{self._name} points at {now or 'nothing'}, not at {expected or 'nothing'}: somebody "
            "changed it; nothing was done (`doit status` shows what is live)"
        )

    def _wait_in_sync(self, change: str) -> None:
        deadline = self._clock() + self._timeout
        while self._api.get_change(Id=change)["ChangeInfo"]["Status"] != "INSYNC":
            if self._clock() > deadline:
                raise FearlessError(
                    f"{self._name} was changed, but Route 53's name servers do not all know it "
                    f"after {self._timeout:g} s: run the same command to wait again"
                )
            self._sleep(self._poll)

    def _record(self, zone: str) -> Record | None:
        """The record of our name that answers for addresses; Refused when there are several."""
        pages = self._api.get_paginator("list_resource_record_sets").paginate(
            HostedZoneId=zone, StartRecordName=self._name
        )
        found = []
        for page in pages:
            names = [normal(record["Name"]) for record in page["ResourceRecordSets"]]
            found += [
                record
                for record, name in zip(page["ResourceRecordSets"], names, strict=True)
                if name == self._name and record["Type"] in ("A", "CNAME")
            ]
            if any(name != self._name for name in names):
                break
        if len(found) > 1 or any("SetIdentifier" in record for record in found):
            raise Refused(
                f"{self._name} has {len(found)} records with weights or other routing: Fearless "
                "moves one simple alias record; replace them by one"
            )
        return found[0] if found else None

    def _find_zone(self) -> str | None:
        """The id of the hosted zone, which must be the nearest one to the name; None to make."""
        zones = self._zones()
        nearest = longest_suffix(self._name, zones) or ""
        if self._zone not in zones:
            if self._create_zone:
                return None
            raise ConfigError(
                f"[dns] in release.toml: no public hosted zone {self._zone!r} in this account "
                f"(have: {', '.join(sorted(zones)) or 'none'})"
            )
        if nearest != self._zone:
            raise ConfigError(
                f"[dns] in release.toml: {self._name!r} belongs to the hosted zone {nearest!r}, "
                f"not to {self._zone!r}: set zone = {nearest!r}, or delete that zone"
            )
        ids = zones[nearest]
        if len(ids) > 1:
            raise ConfigError(
                f"[dns] in release.toml: there are {len(ids)} public hosted zones {nearest!r} "
                f"({', '.join(sorted(ids))}): delete the ones no registrar points at"
            )
        return ids[0]

    def _zones(self) -> dict[str, list[str]]:
        zones: dict[str, list[str]] = {}
        for page in self._api.get_paginator("list_hosted_zones").paginate():
            for zone in page["HostedZones"]:
                if not zone.get("Config", {}).get("PrivateZone"):
                    zones.setdefault(normal(zone["Name"]), []).append(zone["Id"])
        return zones

    def _made_zone(self) -> str:
        answer = self._api.create_hosted_zone(
            Name=self._zone, CallerReference=f"fearless-{self._zone}"
        )
        return str(answer["HostedZone"]["Id"])

    @property
    def _api(self) -> Any:
        return self._cloud.client("route53")

    _clock: Callable[[], float] = staticmethod(time.monotonic)
    _sleep: Callable[[float], None] = staticmethod(time.sleep)


def normal(name: str) -> str:
    """Lower case, no final dot, no `dualstack.` in front: names compare equal if they are."""
    return name.strip().lower().rstrip(".").removeprefix("dualstack.")


def longest_suffix(name: str, zones: Iterable[str]) -> str | None:
    """The zone `name` is in: itself or its nearest parent, whole labels only."""
    fitting = [zone for zone in zones if f".{name}".endswith(f".{zone}")]
    return max(fitting, key=len) if fitting else None


def points_at(record: Record) -> str:
    """What a record points at, normalised: an alias's name, or its values."""
    if "AliasTarget" in record:
        return normal(record["AliasTarget"]["DNSName"])
    return ", ".join(normal(value["Value"]) for value in record.get("ResourceRecords", []))


def alias(name: str, stack: Stack) -> Record:
    """The record that makes `name` the stack's load balancer, as long as that is healthy."""
    try:
        host, zone = stack.outputs["LoadBalancerDNS"], stack.outputs["LoadBalancerZone"]
    except KeyError as missing:
        raise FearlessError(
            f"stack {stack.name} has no output {missing}: the template must give it"
        ) from None
    return {
        "Name": f"{name}.",
        "Type": "A",
        "AliasTarget": {
            "HostedZoneId": zone,
            "DNSName": f"{normal(host)}.",
            "EvaluateTargetHealth": True,
        },
    }
