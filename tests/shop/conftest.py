"""The shop running on the emulator with a few stores of the seed, in version 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fearless.testing.emulator import Emulator
from tests import shop_app
from tests.shop_app import Shop

RELEASE = {
    "FEARLESS_APP": "shop",
    "FEARLESS_SHA": "4f2a9c1d5e6b7a8f9c0d1e2f3a4b5c6d7e8f9a0b",
    "FEARLESS_STACK": "shop-r-1",
    "FEARLESS_RELEASE": "20261123-4f2a9c1",
    "FEARLESS_KIND": "release",
}
STORE = "coffee-03"


@pytest.fixture(scope="session", params=[1, 2], ids=["v1", "v2"])
def shop(
    request: pytest.FixtureRequest, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """A running shop; both versions must behave alike."""
    folder: Path = tmp_path_factory.mktemp("shop")
    tables = shop_app.create_tables(emulator)
    shop_app.fill(emulator, tables, {STORE}, version=request.param)
    source = shop_app.source(request.param, folder)
    with shop_app.running(source, emulator.url, tables, **RELEASE) as running:
        yield running
