"""Checkouts with an embedded cloud of their own, stopped at the end whatever happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .checkout import Checkout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The shop with its full production of 20,000 items."""
    checkout = Checkout(tmp_path_factory.mktemp("shop") / "shop").alone()
    yield checkout
    checkout.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The shop with a small production."""
    checkout = Checkout(tmp_path_factory.mktemp("small") / "shop").small()
    yield checkout
    checkout.close()
