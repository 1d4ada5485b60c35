"""What every test may use: a real emulator in its own process, a silent report."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from hypothesis import settings

from fearless.testing.emulator import Emulator, free_port
from fearless.testing.fakes import SilentReport

__all__ = ["Emulator", "SilentReport", "free_port"]

os.environ["AWS_ACCOUNT_ID_ENDPOINT_MODE"] = "disabled"
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(name, None)  # the last: some thousand processes are started, each would compile
sys.dont_write_bytecode = False


pytest.register_assert_rewrite(
    "tests.builtin.builds.given", "tests.docker_engine", "tests.docker_registry"
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background job ignores Ctrl-C, and so would all that tests start and interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("fearless", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "fearless")

SLOW = (
    "tests/data/test_changes.py",
    "tests/data/test_emulator.py",
    "tests/data/test_simulation.py",
    "tests/data/test_gather.py",
    "tests/data/test_streams.py",
    "tests/data/test_transfer.py",
    "tests/data/test_journal.py",
    "tests/data/fences/test_role.py",
    "tests/data/fences/test_hook.py",
    "tests/data_command/test_refusals.py",
    "tests/e2e/",
    "tests/local/test_builder.py",
    "tests/local/test_bundle.py",
    "tests/local/test_emulator.py",
    "tests/local/test_engine.py",
    "tests/local/test_traffic.py",
    "tests/shop/test_api.py",
    "tests/shop/test_process.py",
    "tests/steps/",
    "tests/testing/",
    "tests/plugins/test_gates.py",
    "tests/build_command/",
    "tests/builtin/farm/test_rights.py",
    "tests/builtin/farm/test_runner.py",
    "tests/builtin/farm/test_worker.py",
    "tests/builtin/test_dynamodb.py",
    "tests/builtin/test_cloudformation.py",
    "tests/builtin/packer/test_baker.py",
    "tests/builtin/packer/test_boot.py",
    "tests/builtin/packer/test_contract.py",
    "tests/builtin/registries/",
)
"""What runs real processes and engines for more than a moment."""


DOCKER = (
    "tests/benchmarks/test_rebuild.py",
    "tests/builtin/test_docker.py",
    "tests/builtin/builds/test_buildkit_engine.py",
    "tests/builtin/builds/test_cache_engine.py",
    "tests/builtin/registries/test_engine_push.py",
    "tests/testing/test_engines.py",
    "tests/local/test_container.py",
    "tests/local/test_engine.py",
    "tests/builtin/farm/test_real.py",
    "tests/e2e/test_docker.py",
)
"""What starts Docker engines, which must not meet on one machine."""


LONGEST = (
    "tests/e2e/test_resume.py",
    "tests/e2e/test_rollback.py",
    *DOCKER,
    "tests/e2e/",
    "tests/data/test_chaos",
    "tests/data/test_endpoints.py",
    "tests/data/test_emulator.py",
    "tests/machines/",
    "tests/builtin/engines/",
    "tests/data_command/",
    "tests/data/test_cutover_emulator.py",
    "tests/steps/",
    "tests/local/",
)
"""What takes longest, begun first: no process shall be left with it alone at the end."""


def pytest_configure(config: pytest.Config) -> None:
    """pytest-xdist would begin with the files that have the most tests, which are quick ones."""
    config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them slow, so that `-m "not slow"` stays quick; a file stays in one process.

    First of all, because pytest-xdist reads the groups in the same hook.
    """

    def rank(item: pytest.Item) -> int:
        places = (n for n, place in enumerate(LONGEST) if item.nodeid.startswith(place))
        return next(places, len(LONGEST))

    items.sort(key=rank)
    for item in items:
        file = item.nodeid.partition("::")[0]
        group = "docker" if file in DOCKER else file
        item.add_marker(pytest.mark.xdist_group(group))
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def report(fearless_report: SilentReport) -> SilentReport:
    return fearless_report


@pytest.fixture(scope="session")
def emulator(fearless_emulator: Emulator) -> Emulator:
    return fearless_emulator
