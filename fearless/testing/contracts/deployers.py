"""What every deployer keeps: it says what runs, and swapping to the same image changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from fearless.interfaces import Deployer, Image, Report, Stack
from fearless.testing.contracts.given import Contract, a_release


class DeployerContract(Contract):
    """`provider` is the deployer; `stack` a running dev stack, `images` two that it can run."""

    @pytest.fixture
    def provider(self) -> Deployer:
        """The deployer."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def stack(self) -> Stack:
        """A dev stack whose instances are healthy; nothing was deployed to it."""
        raise NotImplementedError("override the fixture `stack`")

    @pytest.fixture
    def images(self) -> Sequence[Image]:
        """Two images the stack's instances can fetch."""
        raise NotImplementedError("override the fixture `images`")

    @pytest.fixture(autouse=True)
    def forgotten(self, provider: Deployer, stack: Stack) -> Iterator[None]:
        """Nothing is left of a test."""
        yield
        provider.forget(stack)

    def test_it_is_a_deployer(self, provider: Deployer) -> None:
        assert isinstance(provider, Deployer)

    def test_forgetting_what_was_never_deployed(self, provider: Deployer, stack: Stack) -> None:
        assert provider.deployed(stack) is None
        for _ in range(2):
            provider.forget(stack)
            assert provider.deployed(stack) is None

    def test_images_are_swapped_and_remembered(
        self, provider: Deployer, app: str, stack: Stack, images: Sequence[Image], report: Report
    ) -> None:
        for image in images:
            release = a_release(app, "dev")
            for _ in range(2):
                provider.deploy(release, stack, image, report)
                assert provider.deployed(stack) == image.reference
        provider.forget(stack)
        assert provider.deployed(stack) is None
