"""How an image runs here: as a container when a Docker engine can, as a plain process otherwise."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fearless.errors import FearlessError
from fearless.local.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A command to run an image with. `env` is what the image sets; `mode` is for people."""

    mode: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL


Prepare = Callable[[Source, Path], Prepared]
"""`prepare(source, instance directory)`: may take seconds; raises FearlessError."""


def prepare(source: Source, rootfs: Path, home: Path) -> Prepared:
    """Make the image runnable; `home` is the instance's directory."""
    return _container(source, home) or _process(source, rootfs)


def _process(source: Source, rootfs: Path) -> Prepared:
    from fearless.local import bundle

    made = bundle.unpack(source.layout, source.digest, rootfs)
    return Prepared("process", made.argv, made.env, made.cwd, made.stop_signal)


def _container(source: Source, home: Path) -> Prepared | None:
    from fearless.local import engine
    from fearless.local.container import keeper_environment

    if not engine.holds_base(source.layout, source.digest):
        return None
    client = engine.connect()
    if client is None:
        return None
    try:
        image = engine.load(client, source.layout, source.digest)
    except FearlessError as error:
        log.warning("%s runs as a plain process: %s", source.reference, error.args[0])
        return None
    finally:
        client.close()
    keeper = (sys.executable, "-m", "fearless.local.container", image, str(home))
    env = keeper_environment(os.environ)
    return Prepared("container", keeper, env, None, death_signal=signal.SIGTERM)
