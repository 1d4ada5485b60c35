"""Instances as containers on the host's network, where a Docker engine answers."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fearless import docker_archive, oci
from fearless.http import get
from fearless.local import engine, process
from tests.docker_engine import DockerEngine
from tests.local.cloud_kit import HERE, Kit, running, wait_for

pytest_plugins = ["tests.docker_engine"]

pytestmark = [pytest.mark.slow, pytest.mark.docker]

DOCKERFILE = """\
FROM python:{0}-slim
COPY app.py /app/app.py
CMD ["python", "/app/app.py"]
"""


def bake(kit: Kit, docker: DockerEngine, work: Path) -> str:
    """A machine image whose container image has a base and needs an engine."""
    from fearless.testing import base_image

    code = (HERE / "app.py").read_text().replace("@version@", "c1").replace("@mode@", "good")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        files = {"Dockerfile": DOCKERFILE.format(base_image.VERSION), "app.py": code}
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    context.seek(0)
    image, _ = docker.client.images.build(
        fileobj=context, custom_context=True, network_mode="none", forcerm=True
    )
    archive = work / "image.tar"
    engine.save(docker.client, image.id, archive)
    folder = kit.cloud.directory.root / "amis" / "ami-container"
    manifest = docker_archive.read(archive, oci.Layout.create(folder / "images"))
    about = {"repository": "shop", "tag": "c1", "digest": manifest.digest, "image_id": image.id}
    (folder / "manifest.json").write_text(json.dumps({"images": [about]}))
    docker.client.images.remove(image.id, force=True)
    return "ami-container"


def test_an_instance_is_a_container_and_none_outlives_the_daemon(
    tmp_path: Path,
    host_docker_engine: DockerEngine,
    monkeypatch: pytest.MonkeyPatch,
    report: Any,
) -> None:
    docker = host_docker_engine
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    with running(tmp_path, report) as kit:
        outputs = kit.create("boxed", bake(kit, docker, tmp_path), count=1)
        (id,) = kit.wait_healthy(outputs, 1)
        status, body = get(kit.url(outputs))
        answer = json.loads(body)
        assert (status, answer["version"], answer["instance"]) == (200, "c1", id)
        assert "DOCKER_HOST" not in answer["env"]
        assert [c.name for c in docker.client.containers.list(ignore_removed=True)] == [
            f"fearless-{id}"
        ]
        (instance,) = (kit.cloud.status() or {})["instances"]
        assert instance["mode"] == "container"

        docker.client.containers.get(f"fearless-{id}").kill()
        wait_for(lambda: id not in kit.health(outputs))
        (second,) = kit.wait_healthy(outputs, 1)
        kit.client("autoscaling").set_desired_capacity(
            AutoScalingGroupName=outputs["AutoScalingGroup"], DesiredCapacity=0
        )
        log = kit.cloud.directory.instances / second / "app.log"
        wait_for(lambda: "stopped gracefully" in log.read_text())
        wait_for(lambda: docker.client.containers.list(all=True, ignore_removed=True) == [])
        kit.client("autoscaling").set_desired_capacity(
            AutoScalingGroupName=outputs["AutoScalingGroup"], DesiredCapacity=1
        )
        kit.wait_healthy(outputs, 1)
        children = process.marked(kit.cloud.directory.root)
        os.kill(kit.pid, signal.SIGKILL)
        wait_for(lambda: not any(child.alive() for child in children))
        wait_for(lambda: docker.client.containers.list(all=True, ignore_removed=True) == [])
