"""What every cloud keeps: it answers once ensured, and to the same question the same."""

from __future__ import annotations

from typing import Any

import pytest

from fearless.interfaces import Cloud, Report
from fearless.testing.contracts.given import Contract


def _arn_of(url: str, region: str, frozen: Any) -> str:
    """Who those credentials are, asked without any of the cloud's clients."""
    import boto3

    make: Any = boto3.session.Session(
        aws_access_key_id=frozen.access_key,
        aws_secret_access_key=frozen.secret_key,
        aws_session_token=frozen.token,
    ).client
    client = make("sts", endpoint_url=url, region_name=region)
    return str(client.get_caller_identity()["Arn"])


class CloudContract(Contract):
    """`provider` is the cloud, to be ensured; `service` one that it has a client for."""

    @pytest.fixture
    def provider(self) -> Cloud:
        """The cloud."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def service(self) -> str:
        """The name of an AWS service."""
        return "sts"

    def test_it_is_a_cloud(self, provider: Cloud) -> None:
        assert isinstance(provider, Cloud)
        assert provider.region and provider.region == provider.region

    def test_ensuring_twice_is_ensuring_once(self, provider: Cloud, report: Report) -> None:
        for _ in range(2):
            provider.ensure(report)
            assert provider.running() is True

    def test_a_client_is_made_once_and_works(
        self, provider: Cloud, report: Report, service: str
    ) -> None:
        provider.ensure(report)
        client: Any = provider.client(service)
        assert provider.client(service) is client
        self.need_the_real_thing()
        assert provider.client("sts").get_caller_identity()["Account"]
        assert client.meta.region_name == provider.region

    def test_its_credentials_sign_what_its_clients_may_do(
        self, provider: Cloud, report: Report
    ) -> None:
        provider.ensure(report)
        frozen = provider.credentials().get_frozen_credentials()
        assert frozen.access_key and frozen.secret_key
        assert provider.credentials().get_frozen_credentials().access_key == frozen.access_key
        self.need_the_real_thing()
        wanted = provider.client("sts").get_caller_identity()["Arn"]
        assert _arn_of(provider.client("sts").meta.endpoint_url, provider.region, frozen) == wanted

    def test_parameters_are_of_the_stack_and_stay(self, provider: Cloud, report: Report) -> None:
        provider.ensure(report)
        one, other = provider.parameters("contract-one"), provider.parameters("contract-two")
        assert provider.parameters("contract-one") == one
        assert all(isinstance(word, str) for pair in one.items() for word in pair)
        assert one.keys() == other.keys()
        if "ListenerPort" in one:
            assert one["ListenerPort"] != other["ListenerPort"]

    def test_urls_are_base_urls(self, provider: Cloud, report: Report) -> None:
        provider.ensure(report)
        url = provider.url("one.elb.example", 8081)
        assert url.startswith("http") and url.endswith(":8081"), url
        public = provider.public_url("shop.example")
        assert public.startswith("http") and not public.endswith("/"), public
