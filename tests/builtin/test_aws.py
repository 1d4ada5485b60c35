"""Which account, region and endpoint the real cloud uses, and how its errors read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    TokenRetrievalError,
)

from fearless.builtin.aws import Aws, explained, period, throttled
from fearless.errors import ConfigError, FearlessError, NotAuthorised
from fearless.interfaces import Cloud, Requests, Stack
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import SilentReport


@dataclass
class Project:
    app_url: str | None = None


def aws(app_url: str | None = None, **settings: Any) -> Aws:
    return Aws(cast("Any", Project(app_url)), **settings)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No region, credentials or metadata service but what a test gives."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def endpoint(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator, given by the standard variables only."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.mark.usefixtures("endpoint")
def test_the_standard_variables_are_enough(report: SilentReport) -> None:
    cloud = aws()
    assert isinstance(cloud, Cloud)
    cloud.ensure(report)
    assert report.lines == [
        "AWS account 000000000000, us-east-1, as arn:aws:iam::000000000000:root"
    ]
    assert cloud.running()
    assert cloud.client("dynamodb") is cloud.client("dynamodb")
    assert cloud.parameters("shop-r-1") == {}


@pytest.mark.usefixtures("endpoint")
def test_a_service_endpoint_of_its_own_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    cloud = aws(region="eu-west-1")
    assert cloud.client("dynamodb").meta.endpoint_url == "http://127.0.0.1:9"
    assert cloud.client("sqs").meta.region_name == "eu-west-1"


@pytest.mark.parametrize("custom", [True, False])
def test_account_based_endpoints_are_off_for_endpoints_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, custom: bool
) -> None:
    monkeypatch.delenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", raising=False)
    if custom:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    mode = aws(region="eu-west-1").client("dynamodb").meta.config.account_id_endpoint_mode
    assert mode == ("disabled" if custom else "preferred")


@pytest.mark.usefixtures("endpoint")
def test_the_wrong_account_is_not_authorised(report: SilentReport) -> None:
    aws(allowed_accounts=["000000000000"]).ensure(report)
    with pytest.raises(NotAuthorised) as caught:
        aws(allowed_accounts=["111111111111", "222222222222"]).ensure(report)
    assert "for account 000000000000 " in str(caught.value)
    assert "allowed_accounts in release.toml is 111111111111, 222222222222" in str(caught.value)


@pytest.mark.usefixtures("endpoint")
def test_credentials_that_are_not_valid_are_not_authorised(
    monkeypatch: pytest.MonkeyPatch, report: SilentReport
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODYNOBODYNOBO")
    with pytest.raises(NotAuthorised, match="asking AWS who we are: "):
        aws().ensure(report)
    assert not aws().running()


def test_no_credentials_say_what_to_do(report: SilentReport) -> None:
    with pytest.raises(NotAuthorised, match=r"Unable to locate credentials.*set AWS_PROFILE"):
        aws(region="us-east-1").ensure(report)


def test_without_credentials_there_are_none_to_give() -> None:
    with pytest.raises(NotAuthorised, match="AWS_PROFILE"):
        aws().credentials()


def test_no_region_says_what_to_do(report: SilentReport) -> None:
    with pytest.raises(ConfigError, match=r"no AWS region: set `region` under \[cloud\]"):
        aws().ensure(report)


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ConfigError, match=r"\[cloud\] in release\.toml: .*\(production\)"):
        aws(profile="production", region="us-east-1").client("sts")


def test_urls() -> None:
    assert aws().url("lb.example.com", 80) == "http://lb.example.com"
    assert aws().url("lb.elb.localhost", 18080) == "http://lb.elb.localhost:18080"
    assert aws().public_url("shop.example.com") == "http://shop.example.com"
    assert aws("http://127.0.0.1:1").public_url("shop.example.com") == "http://127.0.0.1:1"


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "because"}}, "Anything")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (refusal("ExpiredToken"), NotAuthorised, "not authorised: copying: ExpiredToken: because"),
        (refusal("AccessDeniedException"), NotAuthorised, "AccessDeniedException: because"),
        (refusal("LimitExceeded"), FearlessError, "error: copying: LimitExceeded: because"),
        (NoCredentialsError(), NotAuthorised, "copying: Unable to locate credentials"),
        (
            TokenRetrievalError(provider="sso", error_msg="expired"),
            NotAuthorised,
            "run `aws sso login`",
        ),
        (
            EndpointConnectionError(endpoint_url="http://x"),
            FearlessError,
            'Could not connect to the endpoint URL: "http://x"',
        ),
    ],
)
def test_what_boto3_raises_becomes_one_line(
    error: Exception, kind: type[FearlessError], text: str
) -> None:
    with pytest.raises(FearlessError) as caught, explained("copying"):
        raise error
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_about_aws_passes_through() -> None:
    with pytest.raises(KeyError), explained("copying"):
        raise KeyError("x")
    assert throttled(refusal("ThrottlingException"))
    assert not throttled(refusal("AccessDenied"))


@pytest.mark.usefixtures("endpoint")
def test_requests_are_what_cloudwatch_counted_lately(emulator: Emulator) -> None:
    ec2, elb = emulator.client("ec2"), emulator.client("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.77.{n}.0/24")["Subnet"]["SubnetId"]
        for n in range(2)
    ]
    made = elb.create_load_balancer(Name="counted", Subnets=subnets)["LoadBalancers"][0]
    stack = Stack(
        "s", "arn:s", "CREATE_COMPLETE", "release", "", "", datetime.now(UTC),
        {"LoadBalancerDNS": made["DNSName"]},
    )  # fmt: skip
    cloud = aws()
    assert isinstance(cloud, Requests)
    assert cloud.requests(stack, 3600) == 0
    name = made["LoadBalancerArn"].partition("loadbalancer/")[2]
    for minutes, count in ((5, 3.0), (30, 4.0), (200, 50.0)):
        emulator.client("cloudwatch").put_metric_data(
            Namespace="AWS/ApplicationELB",
            MetricData=[
                {
                    "MetricName": "RequestCount",
                    "Dimensions": [{"Name": "LoadBalancer", "Value": name}],
                    "Timestamp": datetime.now(UTC) - timedelta(minutes=minutes),
                    "Value": count,
                    "Unit": "Count",
                }
            ],
        )
    assert cloud.requests(stack, 3600) == 7
    elb.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])
    assert cloud.requests(stack, 3600) == 0


def test_no_more_points_than_cloudwatch_gives() -> None:
    assert [period(seconds) for seconds in (1, 3600, 86400, 86401, 14 * 86400)] == [
        60, 60, 60, 120, 840,
    ]  # fmt: skip
