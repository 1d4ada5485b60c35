"""Load balancers as Caddy configurations, by equality."""

from __future__ import annotations

import pytest

from fearless.local.balancer import (
    Balancer,
    Listener,
    Rule,
    alias_target,
    balancer_config,
    edge_config,
    edge_upstream,
    normal_name,
    pool_files,
    pool_name,
    rule,
)

FORWARD = {"Type": "forward", "TargetGroupArn": "tg"}
SHOP = Balancer("arn", "shop", "shop-1.elb.localhost", (Listener(21001, (Rule(("tg",)),)),))


@pytest.mark.parametrize(
    ("actions", "conditions", "expected"),
    [
        ([FORWARD], [], Rule(("tg",))),
        (
            [FORWARD],
            [{"Field": "path-pattern", "Values": ["/api/*"]}],
            Rule(("tg",), paths=("/api/*",)),
        ),
        (
            [FORWARD],
            [{"Field": "host-header", "HostHeaderConfig": {"Values": ["a.b"]}}],
            Rule(("tg",), hosts=("a.b",)),
        ),
        (
            [
                {
                    "Type": "forward",
                    "ForwardConfig": {
                        "TargetGroups": [
                            {"TargetGroupArn": "a", "Weight": 1},
                            {"TargetGroupArn": "b", "Weight": 0},
                        ]
                    },
                }
            ],
            [],
            Rule(("a",)),
        ),
        (
            [
                {
                    "Type": "fixed-response",
                    "FixedResponseConfig": {"StatusCode": "404", "MessageBody": "no"},
                }
            ],
            [],
            Rule(status=404, body="no"),
        ),
        (
            [{"Type": "redirect"}],
            [],
            Rule(status=501, body="action redirect is not emulated\n"),
        ),
        (
            [FORWARD],
            [{"Field": "source-ip", "Values": ["::1"]}],
            Rule(status=501, body="source-ip is not emulated\n"),
        ),
    ],
)
def test_rules_are_read(actions: list, conditions: list, expected: Rule) -> None:
    assert rule(actions, conditions) == expected


def test_the_configuration_names_no_target_so_that_it_need_not_change() -> None:
    config = balancer_config(SHOP, "/s/c.sock", {21001: 7}, "/s/pools")
    assert config["admin"] == {"listen": "unix//s/c.sock", "config": {"persist": False}}
    server = config["apps"]["http"]["servers"]["port-21001"]
    assert server["listen"] == ["fd/7"]
    assert server["protocols"] == ["h1"] and server["automatic_https"] == {"disable": True}
    pool = f"/s/pools/{pool_name(('tg',))}"
    up, down = server["routes"]
    assert up["match"] == [{"vars": {f"{{file.{pool}/state}}": ["up"]}}]
    (proxy,) = up["handle"]
    assert proxy["transport"]["keep_alive"] == {"enabled": False}
    assert proxy["upstreams"][0] == {"dial": f"{{file.{pool}/0}}"}
    assert down["handle"][0]["status_code"] == "503"
    assert down["handle"][0]["body"] == f"{{file.{pool}/reason}}"


def test_the_edge_reads_where_to_send_to() -> None:
    config = edge_config("/s/c.sock", 5, "/s/pools/edge")
    up, _ = config["apps"]["http"]["servers"]["edge"]["routes"]
    assert up["handle"][0]["upstreams"] == [{"dial": "{file./s/pools/edge/0}"}]


def test_targets_share_the_slots_and_the_state_is_written_last() -> None:
    files = pool_files(["a:1", "b:2", "c:3"], "", slots=6)
    slots = {"0": "a:1", "1": "b:2", "2": "c:3", "3": "a:1", "4": "b:2", "5": "c:3"}
    assert files == {**slots, "state": "up"}
    assert list(files)[-1] == "state"
    assert pool_files([], "503: why\n") == {"reason": "503: why\n", "state": "down"}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], None),
        ([{"Name": "www.test.", "Type": "A", "AliasTarget": {"DNSName": "x"}}], None),
        (
            [
                {
                    "Name": "Shop.Test.",
                    "Type": "A",
                    "AliasTarget": {"DNSName": "dualstack.LB.elb.localhost."},
                }
            ],
            "lb.elb.localhost",
        ),
        (
            [{"Name": "shop.test.", "Type": "CNAME", "ResourceRecords": [{"Value": "lb.x."}]}],
            "lb.x",
        ),
        (
            [
                {"Name": "shop.test.", "Type": "A", "Weight": w, "AliasTarget": {"DNSName": name}}
                for name, w in (("old", 0), ("new", 100))
            ],
            "new",
        ),
    ],
)
def test_the_record_is_followed(records: list, expected: str | None) -> None:
    assert alias_target(records, "shop.test") == expected


def test_the_edge_says_why_there_is_nothing_to_send_to() -> None:
    assert edge_upstream("n", SHOP.dns, [SHOP]) == ("127.0.0.1:21001", "")
    assert edge_upstream("n", None, [SHOP])[1].startswith("503: no release of n is live yet")
    assert "n points at gone, which" in edge_upstream("n", "gone", [SHOP])[1]
    assert "set [dns] name" in edge_upstream("", None, [SHOP])[1]


def test_names_are_compared_as_dns_does() -> None:
    assert normal_name("dualstack.A.b.") == "a.b"
    assert SHOP.url == "http://shop-1.elb.localhost:21001"
    assert Balancer("a", "n", "d", ()).url is None
