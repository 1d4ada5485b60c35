"""Keeps one container as long as this process lives: `python -m fearless.local.container`.

The daemon runs it as an instance, so that a container is a child like any other: its output is
this process's output, SIGTERM stops it gracefully, and this process ends with its exit code.
Everything in the environment is the app's, but for what this process itself needs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fearless.errors import FearlessError
from fearless.local import process

OWN = ("PATH", "HOME", "LC_CTYPE", process.MARK)
LABEL = "fearless.cloud"
STOP_SECONDS = 8


def app_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are meant for the app."""
    return {
        key: value
        for key, value in environment.items()
        if key not in OWN and not key.startswith("DOCKER_")
    }


def keeper_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of the daemon that reach the Docker engine."""
    return {k: v for k, v in environment.items() if k in ("PATH", "HOME") or k.startswith("DOCKER")}


def keep(client: Any, image: str, home: Path, environment: Mapping[str, str]) -> int:
    """Run the image on the host's network until it ends or SIGTERM comes; its exit code."""
    app = app_environment(environment)
    container = client.containers.create(
        image,
        environment=app,
        network_mode="host",
        labels={LABEL: environment.get(process.MARK, "")},
        name=f"fearless-{app['FEARLESS_INSTANCE']}",
    )

    def stop(*_: object) -> None:
        threading.Thread(target=container.stop, kwargs={"timeout": STOP_SECONDS}).start()

    try:
        signal.signal(signal.SIGTERM, stop)
        container.start()
        container.reload()
        (home / "container.pid").write_text(str(container.attrs["State"]["Pid"]))
        for chunk in container.logs(stream=True, follow=True):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)


def remove_leftovers(client: Any, directory: Path) -> list[str]:
    """Remove the containers of that cloud which no keeper could; their names."""
    found = client.containers.list(
        all=True, ignore_removed=True, filters={"label": f"{LABEL}={directory}"}
    )
    for container in found:
        container.remove(force=True)
    return [str(container.name) for container in found]


def main() -> int:
    """Run one container."""
    from fearless.local import engine

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", help="the image's id in the engine")
    parser.add_argument("home", type=Path, help="the instance's directory")
    args = parser.parse_args()
    client = engine.connect()
    if client is None:
        raise FearlessError("the Docker engine does not answer any more")
    return keep(client, args.image, args.home, os.environ)


if __name__ == "__main__":
    sys.exit(main())
