"""Where a Docker engine answers, the image is built by it and instances are containers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fearless import http

from .checkout import Checkout

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine

pytest_plugins = ["tests.docker_engine"]
pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(400)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path / "shop").small()
    yield checkout
    checkout.close()


def test_a_release_with_containers(
    shop: Checkout, tmp_path: Path, host_docker_engine: DockerEngine
) -> None:
    requirements = shop.root / "examples" / "shop" / "requirements.txt"
    wheels = tmp_path / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "-d", str(wheels), "-r", str(requirements)],
        check=True,
        capture_output=True,
    )
    host_docker_engine.load_base(sorted(wheels.glob("*.whl")))
    engine = {"DOCKER_HOST": host_docker_engine.host}
    run = shop.doit("release", timeout=300, **engine).ok()
    assert "container: by the Docker engine" in run.err
    assert re.search(r"cache: \d+/\d+ steps", run.err)
    assert "warning" not in run.err, "the shop's Dockerfile is an example"
    live = shop.doit("status", "json=1", **engine).ok().json["live"]
    answer = json.loads(http.get(live["url"] + "/__release")[1])
    assert answer["sha"] == shop.git("rev-parse", "HEAD")
    containers = host_docker_engine.client.containers.list(ignore_removed=True)
    assert len(containers) == 4  # two of the planted production, two of the release
    image_ids = {container.image.id for container in containers}
    assert len(image_ids) == 2
    built = host_docker_engine.client.images.get(f"shop:{answer['sha']}")
    assert built.id in image_ids
    assert built.id == host_docker_engine.client.images.get("shop:branch-main").id
    assert built.labels["org.opencontainers.image.revision"] == answer["sha"]
    shop.run("fearless", "local", "stop", **engine).ok()
    assert host_docker_engine.client.containers.list(ignore_removed=True) == []
