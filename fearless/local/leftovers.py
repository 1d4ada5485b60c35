"""Removes unpacked images that nothing refers to any more, now and then, in the background."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fearless import oci
from fearless.errors import FearlessError

log = logging.getLogger(__name__)

SECONDS = 60.0
"""At least so long between two looks."""

BYTECODE = ".bytecode"


class Sweeper:
    """Keeps `rootfs` of the cloud in `directory` to what is needed.

    `used` gives the manifest digests of the images that instances run or are about to.
    """

    def __init__(self, directory: Path, used: Callable[[], set[str]]) -> None:
        self._directory, self._used = directory, used
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sweep")
        self._sweeping: Future[list[str]] | None = None
        self._began = float("-inf")

    def step(self, now: float) -> None:
        """Say what was removed, and look again when it is time."""
        if self._sweeping is not None and self._sweeping.done():
            done, self._sweeping = self._sweeping, None
            for name in done.result():
                log.info("removed rootfs/%s: no image refers to it any more", name)
        if self._sweeping is None and now - self._began >= SECONDS:
            self._began = now
            self._sweeping = self._pool.submit(sweep, self._directory, self._used)

    def close(self) -> None:
        """Stop looking."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def sweep(directory: Path, used: Callable[[], set[str]]) -> list[str]:
    """Delete what is unpacked of images that no machine image, tag or dev stack has, nor any use.

    Holds the lock that unpacking takes, so an image that comes back is unpacked anew. Deletes
    nothing when a manifest or an index cannot be read. Returns the names of what it deleted.
    """
    rootfs = directory / "rootfs"
    if not rootfs.is_dir():
        return []
    with oci.locked(rootfs / ".lock"):
        try:
            kept = {oci.hex_of(digest) for digest in referenced(directory) | used()}
        except (FearlessError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("rootfs is left as it is: %s", error)
            return []
        kept.add(BYTECODE)
        found = [*rootfs.iterdir(), *(rootfs / BYTECODE).glob("*")]
        gone = [path for path in found if path.is_dir() and path.name not in kept]
        for path in gone:
            shutil.rmtree(path)
    return sorted({path.name for path in gone})


def referenced(directory: Path) -> set[str]:
    """The manifest digests that a machine image or a tag names, pushed or deployed."""
    digests = set()
    for path in (directory / "amis").glob("*/manifest.json"):
        digests |= {str(image["digest"]) for image in json.loads(path.read_bytes())["images"]}
    for folder in ("registry", "deployed"):
        for path in (directory / folder).glob("*/oci-layout"):
            digests |= {entry.digest for entry in oci.Layout(path.parent).tags().values()}
    return digests
