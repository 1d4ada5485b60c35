"""The record moves by compare-and-swap: against a real emulator, races included."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from fearless.builtin.route53 import Route53, longest_suffix, normal
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.interfaces import Stack
from tests.builtin.clouds import EmulatorCloud

ZONE_OF_BALANCERS = "Z35SXDOTRQ7X7K"


def stack(name: str) -> Stack:
    """A stack of that name, as far as DNS is concerned."""
    outputs = {
        "LoadBalancerDNS": f"{name}-1.us-east-1.ELB.amazonaws.com",
        "LoadBalancerZone": ZONE_OF_BALANCERS,
    }
    return Stack(
        name, f"arn:{name}", "CREATE_COMPLETE", "release", "", "", datetime.now(UTC), outputs
    )


OLD, NEW, OTHER = stack("old"), stack("new"), stack("other")
OLD_HOST, NEW_HOST, OTHER_HOST = (
    normal(one.outputs["LoadBalancerDNS"]) for one in (OLD, NEW, OTHER)
)


@pytest.fixture
def domain(cloud: EmulatorCloud) -> Iterator[str]:
    """A domain of this test alone; its zones are deleted afterwards."""
    name = f"{uuid.uuid4().hex[:8]}.test"
    yield name
    cloud.before.clear()
    client = cloud.client("route53")
    for zone in client.list_hosted_zones()["HostedZones"]:
        if zone["Name"].endswith(f"{name}."):
            records = client.list_resource_record_sets(HostedZoneId=zone["Id"])
            for record in records["ResourceRecordSets"]:
                if record["Type"] not in ("NS", "SOA"):
                    change(cloud, zone["Id"], "DELETE", record)
            client.delete_hosted_zone(Id=zone["Id"])


@pytest.fixture
def zone(cloud: EmulatorCloud, domain: str) -> str:
    return make_zone(cloud, domain)


def make_zone(cloud: EmulatorCloud, name: str, **options: Any) -> str:
    reference = uuid.uuid4().hex
    made = cloud.client("route53").create_hosted_zone(
        Name=name, CallerReference=reference, **options
    )
    return str(made["HostedZone"]["Id"])


def change(cloud: EmulatorCloud, zone: str, action: str, record: dict[str, Any]) -> None:
    changes = [{"Action": action, "ResourceRecordSet": record}]
    cloud.client("route53").change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": changes}
    )


def plain(name: str, kind: str, value: str, **routing: Any) -> dict[str, Any]:
    values = [{"Value": value}]
    return {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": values, **routing}


@pytest.fixture
def dns(cloud: EmulatorCloud, domain: str) -> Route53:
    return Route53(cloud, domain, f"shop.{domain}", poll=0.01)


def test_the_record_appears_moves_and_moves_back(
    cloud: EmulatorCloud, zone: str, domain: str, dns: Route53
) -> None:
    assert dns.current() is None
    dns.point(OLD, None)
    assert dns.current() == OLD_HOST
    dns.point(NEW, OLD_HOST)
    assert dns.current() == NEW_HOST
    dns.point(OLD, f"dualstack.{NEW_HOST.upper()}.")
    assert dns.current() == OLD_HOST
    answer = cloud.client("route53").list_resource_record_sets(HostedZoneId=zone)
    (record,) = [one for one in answer["ResourceRecordSets"] if one["Type"] == "A"]
    assert record["Name"] == f"shop.{domain}."
    assert record["AliasTarget"]["HostedZoneId"] == ZONE_OF_BALANCERS
    assert record["AliasTarget"]["EvaluateTargetHealth"] is True


def test_pointing_twice_is_pointing_once(zone: str, dns: Route53) -> None:
    dns.point(OLD, None)
    dns.point(NEW, OLD_HOST)
    dns.point(NEW, OLD_HOST)
    assert dns.current() == NEW_HOST


def test_a_change_counts_only_when_every_name_server_knows_it(
    cloud: EmulatorCloud, zone: str, domain: str, dns: Route53, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = ["PENDING", "PENDING", "INSYNC"]
    monkeypatch.setattr(
        cloud.client("route53"),
        "get_change",
        lambda Id: {"ChangeInfo": {"Status": left.pop(0) if len(left) > 1 else left[0]}},
    )
    dns.point(OLD, None)
    assert left == ["INSYNC"]
    left[:] = ["PENDING"]
    impatient = Route53(cloud, domain, f"shop.{domain}", timeout=0, poll=0)
    with pytest.raises(FearlessError, match="do not all know it after 0 s: run the same command"):
        impatient.point(NEW, OLD_HOST)
    left[:] = ["PENDING", "INSYNC"]
    dns.point(NEW, OLD_HOST)
    assert left == ["INSYNC"]


@pytest.mark.parametrize("expected", [None, OTHER_HOST])
def test_a_record_that_is_not_as_expected_stays(
    zone: str, dns: Route53, expected: str | None
) -> None:
    dns.point(OLD, None)
    with pytest.raises(Refused) as caught:
        dns.point(NEW, expected)
    assert f"points at {OLD_HOST}, not at {expected or 'nothing'}: somebody" in str(caught.value)
    assert dns.current() == OLD_HOST


def test_a_record_that_vanished_is_refused(zone: str, dns: Route53) -> None:
    with pytest.raises(Refused, match="points at nothing, not at old-1"):
        dns.point(NEW, OLD_HOST)
    assert dns.current() is None


@pytest.mark.parametrize("first", [None, OLD])
def test_a_change_between_the_look_and_the_swap_wins(
    cloud: EmulatorCloud, zone: str, dns: Route53, domain: str, first: Stack | None
) -> None:
    if first:
        dns.point(first, None)
    expected = OLD_HOST if first else None
    rival = Route53(EmulatorCloud(cloud.emulator), domain, f"shop.{domain}", poll=0.01)
    cloud.before["ChangeResourceRecordSets"] = lambda: rival.point(OTHER, expected)
    with pytest.raises(Refused, match=f"points at {OTHER_HOST}, not at {expected or 'nothing'}"):
        dns.point(NEW, expected)
    assert dns.current() == OTHER_HOST


def test_of_many_at_once_exactly_one_moves_it(
    cloud: EmulatorCloud, zone: str, dns: Route53, domain: str
) -> None:
    dns.point(OLD, None)
    barrier, won, refused = threading.Barrier(6), [], []

    def race(number: int) -> None:
        mine = stack(f"racer{number}")
        rival = Route53(EmulatorCloud(cloud.emulator), domain, f"shop.{domain}", poll=0.01)
        rival.current()
        barrier.wait(20)
        try:
            rival.point(mine, OLD_HOST)
            won.append(normal(mine.outputs["LoadBalancerDNS"]))
        except Refused as error:
            refused.append(str(error))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert won == [dns.current()]
    assert len(refused) == 5
    assert all(f"points at {won[0]}" in text for text in refused)


def test_a_record_that_is_no_alias_is_named_and_replaced_only_when_expected(
    cloud: EmulatorCloud, zone: str, dns: Route53, domain: str
) -> None:
    change(cloud, zone, "CREATE", plain(f"shop.{domain}", "CNAME", "Old.Example.com."))
    assert dns.current() == "old.example.com"
    with pytest.raises(Refused, match=r"points at old\.example\.com, not at nothing"):
        dns.point(NEW, None)
    dns.point(NEW, "old.example.com")
    assert dns.current() == NEW_HOST


def test_weighted_records_are_refused(
    cloud: EmulatorCloud, zone: str, dns: Route53, domain: str
) -> None:
    record = plain(f"shop.{domain}", "A", "192.0.2.1", SetIdentifier="a", Weight=10)
    change(cloud, zone, "CREATE", record)
    with pytest.raises(Refused, match="has 1 records with weights or other routing"):
        dns.current()


def test_records_of_neighbouring_names_do_not_count(
    cloud: EmulatorCloud, zone: str, dns: Route53, domain: str
) -> None:
    for name in (f"shop2.{domain}", f"a.shop.{domain}", domain):
        change(cloud, zone, "CREATE", plain(name, "A", "192.0.2.1"))
    change(cloud, zone, "CREATE", plain(f"shop.{domain}", "TXT", '"hello"'))
    assert dns.current() is None
    dns.point(OLD, None)
    assert dns.current() == OLD_HOST


def test_a_missing_zone_lists_what_there_is(cloud: EmulatorCloud, domain: str) -> None:
    make_zone(cloud, f"other-{domain}")
    dns = Route53(cloud, domain, f"shop.{domain}")
    with pytest.raises(ConfigError) as caught:
        dns.current()
    assert f"no public hosted zone '{domain}' in this account (have: " in str(caught.value)
    assert f"other-{domain}" in str(caught.value)


def test_a_missing_zone_is_made_when_asked_to(cloud: EmulatorCloud, domain: str) -> None:
    dns = Route53(cloud, domain, f"shop.{domain}", create_zone=True, poll=0.01)
    assert dns.current() is None
    dns.point(OLD, None)
    dns.point(NEW, OLD_HOST)
    assert dns.current() == NEW_HOST


def test_a_nearer_zone_takes_precedence_and_must_be_named(
    cloud: EmulatorCloud, zone: str, dns: Route53, domain: str
) -> None:
    make_zone(cloud, f"shop.{domain}")
    with pytest.raises(ConfigError, match=rf"belongs to the hosted zone 'shop\.{domain}'"):
        dns.current()


def test_two_zones_of_one_name_are_refused(
    cloud: EmulatorCloud, zone: str, dns: Route53, domain: str
) -> None:
    make_zone(cloud, domain)
    with pytest.raises(ConfigError, match="there are 2 public hosted zones"):
        dns.current()


def test_a_name_outside_the_zone_is_refused_at_once(cloud: EmulatorCloud) -> None:
    with pytest.raises(ConfigError, match=r"'shop\.myexample\.com' is not in zone 'example\.com'"):
        Route53(cloud, "example.com", "shop.myexample.com")


def test_a_stack_without_a_load_balancer_is_named(zone: str, dns: Route53) -> None:
    bare = Stack("bare", "arn:bare", "CREATE_COMPLETE", "release", "", "", datetime.now(UTC))
    with pytest.raises(FearlessError, match="stack bare has no output 'LoadBalancerDNS'"):
        dns.point(bare, None)


def test_names_are_compared_by_whole_labels() -> None:
    zones = ["example.com", "b.example.com", "com"]
    assert longest_suffix("a.b.example.com", zones) == "b.example.com"
    assert longest_suffix("ab.example.com", zones) == "example.com"
    assert longest_suffix("example.com", zones) == "example.com"
    assert longest_suffix("example.org", zones) is None
    assert normal(" DualStack.A.Example.com. ") == "a.example.com"


def test_every_name_that_leads_to_a_stack(cloud: EmulatorCloud, domain: str, zone: str) -> None:
    """Whoever else points at a load balancer, in whatever way, is named."""
    dns = Route53(cloud, domain, f"shop.{domain}", poll=0.01)  # type: ignore[arg-type]
    assert dns.names(OLD) == []
    dns.point(OLD, None)
    for name, kind, value in (
        ("legacy", "CNAME", OLD.outputs["LoadBalancerDNS"]),
        ("other", "CNAME", "elsewhere.example"),
    ):
        record = {
            "Name": f"{name}.{domain}.",
            "Type": kind,
            "TTL": 60,
            "ResourceRecords": [{"Value": value}],
        }
        change(cloud, zone, "CREATE", record)
    assert dns.names(OLD) == [f"legacy.{domain}", f"shop.{domain}"]
    assert dns.names(NEW) == []
