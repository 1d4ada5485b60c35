"""Real Docker engines for tests, with the base image in them.

A test module gets its fixtures by `pytest_plugins = ["tests.docker_engine"]`.

`docker_engine` and those that `engines` makes run in network namespaces of their own
(`fearless.testing.docker_engine`). `host_docker_engine` is for tests that must reach containers
from the host; it shares the host's network, and is skipped when this machine has a Docker bridge,
which it would delete.

All need root and dockerd. Without them their tests are skipped; with CI=true they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NoReturn

import pytest

from fearless.errors import FearlessError
from fearless.testing.docker_engine import DockerEngine, running

__all__ = ["DockerEngine"]


def without(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have a Docker engine: {reason}")
    pytest.skip(reason)


def _started(stack: ExitStack, *, isolated: bool = True) -> DockerEngine:
    try:
        return stack.enter_context(running(isolated=isolated))
    except FearlessError as error:
        without(str(error.args[0]))


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """An engine with the base image, in its own network namespace. It is not in DOCKER_HOST."""
    with ExitStack() as stack:
        engine = _started(stack)
        engine.load_base()
        yield engine


@pytest.fixture(scope="module")
def engines() -> Iterator[Callable[[], DockerEngine]]:
    """Call it for one more engine, empty and in a network namespace of its own."""
    with ExitStack() as stack:
        yield lambda: _started(stack)


@pytest.fixture(scope="session")
def host_docker_engine() -> Iterator[DockerEngine]:
    """An engine with the base image whose host network is this machine's."""
    with ExitStack() as stack:
        engine = _started(stack, isolated=False)
        engine.load_base()
        yield engine
