"""The folder a worker works in: the first that no other worker on this machine has."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fearless.errors import FearlessError

MOST = 1000


@contextmanager
def workplace(directory: Path) -> Iterator[Path]:
    """An empty folder below `directory`, held until the block is left, or the process ends.

    What a killed worker left in it is deleted. Raises FearlessError when there is none.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(MOST):
        with (directory / f"worker-{number}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            folder = directory / f"worker-{number}"
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
            folder.mkdir()
            yield folder
            return
    raise FearlessError(f"{MOST} workers work in {directory} already")
