"""What every DNS provider keeps: the record moves by compare-and-swap, and only so."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from fearless.errors import Refused
from fearless.interfaces import DnsProvider, Stack
from fearless.testing.contracts.given import Contract


def a_stack(name: str) -> Stack:
    """A stack of that name, as far as DNS is concerned. Its load balancer's name is mixed case."""
    outputs = {
        "LoadBalancerDNS": f"{name}-1.us-east-1.ELB.amazonaws.com",
        "LoadBalancerZone": "Z35SXDOTRQ7X7K",
        "ListenerPort": "80",
    }
    now = datetime.now(UTC)
    return Stack(name, f"id-{name}", "CREATE_COMPLETE", "release", name, "0" * 40, now, outputs)


def host(stack: Stack) -> str:
    """What `current` says when the record points at the stack."""
    return stack.outputs["LoadBalancerDNS"].lower().rstrip(".")


class DnsProviderContract(Contract):
    """`provider` is for a record that does not exist yet; `stacks` are three to point it at."""

    @pytest.fixture
    def provider(self) -> DnsProvider:
        """The DNS provider."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def stacks(self) -> Sequence[Stack]:
        """Three stacks that need not exist."""
        return [a_stack(f"{letter}{secrets.token_hex(3)}") for letter in "abc"]

    def test_it_is_a_dns_provider(self, provider: DnsProvider) -> None:
        assert isinstance(provider, DnsProvider)

    def test_a_record_that_is_not_there_points_nowhere(self, provider: DnsProvider) -> None:
        assert provider.current() is None
        assert provider.current() is None

    def test_the_record_appears_moves_and_moves_back(
        self, provider: DnsProvider, stacks: Sequence[Stack]
    ) -> None:
        one, two, _ = stacks
        before = None
        for stack in (one, two, one):
            provider.point(stack, before)
            before = provider.current()
            assert before == host(stack)

    def test_pointing_twice_is_pointing_once(
        self, provider: DnsProvider, stacks: Sequence[Stack]
    ) -> None:
        one, two, _ = stacks
        for _ in range(2):
            provider.point(one, None)
        for _ in range(2):
            provider.point(two, host(one))
        assert provider.current() == host(two)

    def test_it_moves_only_from_where_it_is_expected(
        self, provider: DnsProvider, stacks: Sequence[Stack]
    ) -> None:
        one, two, three = stacks
        provider.point(one, None)
        for expected in (None, host(two)):
            with pytest.raises(Refused):
                provider.point(three, expected)
            assert provider.current() == host(one)

    def test_a_record_that_is_gone_is_not_made_again(
        self, provider: DnsProvider, stacks: Sequence[Stack]
    ) -> None:
        one, two, _ = stacks
        with pytest.raises(Refused):
            provider.point(two, host(one))
        assert provider.current() is None
