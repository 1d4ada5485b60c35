"""The pytest plugin that comes with Fearless: fixtures for the authors of plugins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fearless.testing.emulator import Emulator
    from fearless.testing.fakes import SilentReport


@pytest.fixture
def fearless_report() -> SilentReport:
    """A Report that remembers its lines."""
    from fearless.testing.fakes import SilentReport

    return SilentReport()


@pytest.fixture(scope="session")
def fearless_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """AWS on loopback, with IAM enforced: needs `pip install 'fearless[local]'`."""
    from fearless.testing.emulator import running

    with running(tmp_path_factory.mktemp("fearless-emulator")) as emulator:
        yield emulator
