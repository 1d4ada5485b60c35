"""The built-in copy engines keep the rules of their slot."""

from __future__ import annotations

import pytest

from fearless.builtin.engines.processes import Processes
from fearless.testing import contracts

pytestmark = pytest.mark.timeout(120)


class TestProcesses(contracts.CopyEngineContract):
    @pytest.fixture
    def provider(self) -> Processes:
        return Processes(processes=2, threads=2, silence_seconds=2)


class TestProcessesWithoutAny(contracts.CopyEngineContract):
    immortal = True

    @pytest.fixture
    def provider(self) -> Processes:
        return Processes(processes=0, threads=4)
