"""Deletes the blobs nothing needs, while others push: pins, and one collection at a time.

A push writes a pin that lists the blobs it needs, and then looks for the mark of a collection;
a collection writes the mark, and then looks for pins. S3 shows every write to every later
read, so at least one of the two sees the other: a push waits for the mark to go, a collection
keeps what is pinned. A push removes its pin after its tag is written, and a collection reads
pins before tags: what is kept by the one or by the other is never missed.

What a killed process leaves is ignored when it is old, by S3's clock. A pin or a mark that is
renewed gets another ETag: who found it old cannot delete it any more.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from fearless import FearlessError

from fearless_s3_registry.bucket import BATCH, Bucket, Found
from fearless_s3_registry.keys import Keys

PIN_SECONDS = 24 * 3600
"""A pin this old was left by a push that was killed."""

MARK_SECONDS = 900
"""A mark this old was left by a collection that was killed.

It is renewed before every request that deletes, and boto3 gives up on one sooner than that.
"""

WAIT_SECONDS = 60
"""So long a push or a deletion waits for a collection of others."""

POLL_SECONDS = 0.2

THREADS = 8
"""So many small objects are read at the same time."""

T = TypeVar("T")
Blobs = Callable[[str], Iterable[str]]
"""`blobs(tag)`: the digests of all blobs that the tag needs; none when the tag is gone."""


class Pin:
    """Keeps the blobs of one push from being collected."""

    def __init__(self, bucket: Bucket, key: str, needs: Sequence[str]) -> None:
        self._bucket, self._key, self._needs = bucket, key, needs
        self._etag = bucket.put_new(key, _note(needs=needs))

    def renew(self) -> None:
        """To call right before the tag is written; FearlessError when it is too late for that."""
        note = _note(needs=self._needs)
        self._etag = self._etag and self._bucket.replace(self._key, note, self._etag)
        if self._etag is None:
            raise FearlessError(
                "the push took over a day, and what it sent may be gone again: push once more "
                "with `doit image`; what is still there is not sent again"
            )

    def remove(self) -> None:
        """Again is nothing."""
        self._bucket.delete_all([self._key])


class Collection:
    """The collection of one repository's blobs. `sleep` and `clock` are for tests."""

    def __init__(
        self,
        bucket: Bucket,
        keys: Keys,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket, self._keys, self._sleep, self._clock = bucket, keys, sleep, clock

    @contextmanager
    def pinned(self, digests: Sequence[str]) -> Iterator[Pin]:
        """While in the block, no collection deletes the blobs of these digests."""
        pin = Pin(self._bucket, f"{self._keys.pins}{uuid.uuid4().hex}", digests)
        try:
            self._until(lambda: not self._mark())
            yield pin
        finally:
            pin.remove()

    def collect(self, blobs: Blobs) -> None:
        """Delete every blob that no tag and no pin needs."""
        key, who = self._keys.collecting, f"{socket.gethostname()} (pid {os.getpid()})"
        mark = _note(by=who)
        etag = self._until(lambda: None if self._mark() else self._bucket.put_new(key, mark))
        try:
            unneeded = self._unneeded(blobs)
            for start in range(0, len(unneeded), BATCH):
                renewed = self._bucket.replace(key, _note(by=who), etag)
                if renewed is None:
                    return
                etag = renewed
                self._bucket.delete_all(unneeded[start : start + BATCH])
        finally:
            self._bucket.delete(key, etag)

    def _unneeded(self, blobs: Blobs) -> list[str]:
        there = self._bucket.keys(self._keys.blobs)
        needed = set(self._pinned())
        tags = [key.removeprefix(self._keys.tags) for key in self._bucket.keys(self._keys.tags)]
        with ThreadPoolExecutor(THREADS) as pool:
            needed.update(*pool.map(blobs, tags))
        kept = {self._keys.blob(digest) for digest in needed}
        return [key for key in there if key not in kept]

    def _pinned(self) -> Iterator[str]:
        for key in self._bucket.keys(self._keys.pins):
            found = self._bucket.get(key)
            if found and found.age > PIN_SECONDS:
                self._bucket.delete(key, found.etag)
            elif found:
                yield from json.loads(found.data)["needs"]

    def _mark(self) -> Found | None:
        """The mark of a collection that may still go on."""
        found = self._bucket.get(self._keys.collecting)
        if found and found.age > MARK_SECONDS:
            self._bucket.delete(self._keys.collecting, found.etag)
            return None
        return found

    def _until(self, answer: Callable[[], T | None]) -> T:
        """Ask until the answer is a true one."""
        began = self._clock()
        while not (found := answer()):
            if self._clock() - began > WAIT_SECONDS:
                raise FearlessError(self._waited())
            self._sleep(POLL_SECONDS)
        return found

    def _waited(self) -> str:
        found = self._mark()
        if found is None:
            return f"{self._keys.repository}: its blobs are being collected all the time; try again"
        until = found.modified + timedelta(seconds=MARK_SECONDS)
        return (
            f"the blobs of {self._keys.repository} are being collected by "
            f"{json.loads(found.data)['by']}: if that was killed, its mark is good until "
            f"{until:%H:%M} UTC; try again then"
        )


def _note(**facts: object) -> bytes:
    """What a pin or a mark says; no two are the same bytes."""
    return json.dumps({**facts, "id": uuid.uuid4().hex}).encode()
