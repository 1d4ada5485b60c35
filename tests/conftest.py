"""What every test may use: a real emulator in its own process, a silent report."""

from __future__ import annotations

import os

import pytest

from fearless.testing.emulator import Emulator, free_port
from fearless.testing.fakes import SilentReport

__all__ = ["Emulator", "SilentReport", "free_port"]

os.environ["AWS_ACCOUNT_ID_ENDPOINT_MODE"] = "disabled"
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
    os.environ.pop(name, None)


@pytest.fixture
def report(fearless_report: SilentReport) -> SilentReport:
    return fearless_report


@pytest.fixture(scope="session")
def emulator(fearless_emulator: Emulator) -> Emulator:
    return fearless_emulator
