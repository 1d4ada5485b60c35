"""What every secret store keeps: the secret, or one line that names what is missing."""

from __future__ import annotations

import pytest

from fearless.interfaces import SecretStore
from fearless.testing.contracts.given import Contract, explained


class SecretStoreContract(Contract):
    """`provider` is the store; `secret` the name and value of one that it holds."""

    absent = "FEARLESS_NO_SUCH_SECRET"
    """The name of one that it does not hold."""

    @pytest.fixture
    def provider(self) -> SecretStore:
        """The store."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def secret(self) -> tuple[str, str]:
        """The name and the value of a secret there is."""
        raise NotImplementedError("override the fixture `secret`")

    def test_it_is_a_secret_store(self, provider: SecretStore) -> None:
        assert isinstance(provider, SecretStore)

    def test_a_secret_is_found_as_it_is(
        self, provider: SecretStore, secret: tuple[str, str]
    ) -> None:
        name, value = secret
        assert provider.get(name) == value
        assert provider.get(name) == value

    def test_a_missing_one_is_named_and_no_other_is_shown(
        self, provider: SecretStore, secret: tuple[str, str]
    ) -> None:
        _, value = secret
        with explained() as caught:
            provider.get(self.absent)
        assert self.absent in str(caught.value)
        assert value not in str(caught.value)
