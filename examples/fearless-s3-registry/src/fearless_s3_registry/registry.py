"""The provider: images as OCI blobs in a bucket, tags that never move, every byte checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fearless import Cloud, FearlessError, Image, Refused, Release, StoredImage
from fearless.image_source import opened
from fearless.oci import (
    MANIFEST,
    REF_NAME,
    CorruptImage,
    Descriptor,
    Layout,
    Manifest,
    canonical,
    digest_of,
)
from pydantic import Field

from fearless_s3_registry.bucket import Bucket
from fearless_s3_registry.collection import THREADS, Collection
from fearless_s3_registry.keys import Keys, is_repository

IMAGE_ID = "fearless.image-id"
"""The annotation of a tag that gives the digest of the image's configuration."""


class S3Registry:
    """`[registry] use = "s3"`: `bucket` names it, `prefix` is a folder in it.

    `create` makes a missing bucket when it is first used. A tag is an object of its own, written
    only where there is none: it holds the digest it was first pushed with until it is deleted.
    Any number of processes and machines may push, pull and delete at the same time.
    """

    def __init__(
        self,
        cloud: Cloud,
        bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")],
        prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9/._-]*$")] = "",
        create: bool = False,
    ) -> None:
        self.bucket = Bucket(cloud, bucket, create)
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def find(self, release: Release) -> Image | None:
        """The image of the release's app tagged with its SHA."""
        keys = self._keys(release.app)
        held = self._tag(keys, release.sha)
        return _image(keys, release.sha, held) if held else None

    def push(self, image: Image) -> Image:
        """Send what the bucket lacks, read it back, and write the tag.

        Raises Refused when the tag holds another digest, CorruptImage when an object is not
        what was sent. Killed at any moment, there is no tag, and the next push sends what is
        still missing.
        """
        keys = self._keys(image.repository)
        held = self._tag(keys, image.tag)
        known = held and not image.digest and held.annotations[IMAGE_ID] == image.image_id
        if held and known and not self._lacking(keys, held):
            return _image(keys, image.tag, held)
        with opened(image) as (layout, digest):
            config = layout.verify(digest).config.digest
            entry = _entry(image.tag, layout.get(digest), config)
            if held:
                _same(keys, image.tag, held, entry)
            self._store(keys, layout, image.tag, entry)
        return _image(keys, image.tag, entry)

    def pull(self, image: Image, into: Path) -> Path:
        """Add the image to the OCI layout `into`, tagged `<repository>:<tag>`; every byte checked.

        What is there already is not fetched again. Raises FearlessError when the bucket does not
        have that digest, CorruptImage when its bytes are not what the digest says.
        """
        keys = self._keys(image.repository)
        data = self._manifest(keys, image.digest)
        layout = Layout.create(into)
        for blob in Manifest.from_bytes(data).blobs:
            if not layout.has(blob):
                with self.bucket.open(keys.blob(blob.digest)) as stream:
                    if stream is None:
                        raise self._lacks(keys, blob.digest)
                    layout.receive(stream, blob)
        layout.tag(f"{image.repository}:{image.tag}", layout.put(data, MANIFEST))
        return into

    def list(self) -> Sequence[Image]:
        """Every tagged image of every app with images under the prefix, by app and tag."""
        return [image for image, _ in self._tagged()]

    def stored(self) -> Sequence[StoredImage]:
        """The same with their sizes, and when they were pushed."""

        def stored(image: Image, pushed: datetime) -> StoredImage:
            data = self._manifest(self._keys(image.repository), image.digest)
            size = sum(blob.size for blob in Manifest.from_bytes(data).blobs)
            return StoredImage(image, size, pushed)

        with ThreadPoolExecutor(THREADS) as pool:
            return [*pool.map(lambda tagged: stored(*tagged), self._tagged())]

    def deviations(self) -> Sequence[str]:
        """None: how the bucket is set up is its owner's business."""
        return ()

    def delete(self, image: Image) -> None:
        """Remove the tag if it still holds that digest, and every blob that nothing needs."""
        keys = self._keys(image.repository)
        key = keys.tag(image.tag)
        found = self.bucket.get(key)
        if found and self._read(key, found.data).digest == image.digest:
            self.bucket.delete(key, found.etag)
        Collection(self.bucket, keys).collect(lambda tag: self._needed(keys, tag))

    # --------------------------------------------------------------------- internals

    def _store(self, keys: Keys, layout: Layout, tag: str, entry: Descriptor) -> None:
        blobs = (*layout.manifest(entry.digest).blobs, entry)
        with Collection(self.bucket, keys).pinned([blob.digest for blob in blobs]) as pin:
            for blob in blobs:
                key = keys.blob(blob.digest)
                if not self.bucket.holds(key, blob):
                    self.bucket.send(layout.path(blob.digest), key, blob.digest)
            if lacking := self._lacking(keys, entry):
                raise CorruptImage(f"{self._url(lacking)} is not what was sent: push again")
            pin.renew()
            if self.bucket.put_new(keys.tag(tag), canonical(entry.to_json())) is None:
                held = self._tag(keys, tag)
                if held is None:
                    raise FearlessError(
                        f"{keys.repository}:{tag} was deleted while it was pushed: push again"
                    )
                _same(keys, tag, held, entry)

    def _lacking(self, keys: Keys, entry: Descriptor) -> str | None:
        """The key of the first object of an image that is not there as it was sent."""
        key = keys.blob(entry.digest)
        if not self.bucket.holds(key, entry):
            return key
        blobs = Manifest.from_bytes(self._manifest(keys, entry.digest)).blobs
        lacking = (
            keys.blob(b.digest) for b in blobs if not self.bucket.holds(keys.blob(b.digest), b)
        )
        return next(lacking, None)

    def _tagged(self) -> Iterator[tuple[Image, datetime]]:
        """Every tagged image, and when its tag was written."""
        with ThreadPoolExecutor(THREADS) as pool:
            for repository in filter(is_repository, self.bucket.folders(self.prefix)):
                keys = self._keys(repository)
                names = self.bucket.keys(keys.tags)
                for name, found in zip(names, pool.map(self.bucket.get, names), strict=True):
                    if found:
                        entry = self._read(name, found.data)
                        yield _image(keys, name.removeprefix(keys.tags), entry), found.modified

    def _needed(self, keys: Keys, tag: str) -> Iterable[str]:
        held = self._tag(keys, tag)
        if held is None:
            return ()
        blobs = Manifest.from_bytes(self._manifest(keys, held.digest)).blobs
        return (held.digest, *(blob.digest for blob in blobs))

    def _tag(self, keys: Keys, tag: str) -> Descriptor | None:
        key = keys.tag(tag)
        found = self.bucket.get(key)
        return self._read(key, found.data) if found else None

    def _read(self, key: str, data: bytes) -> Descriptor:
        try:
            entry = Descriptor.from_json(json.loads(data))
        except ValueError as error:
            raise CorruptImage(f"{self._url(key)} is not JSON: {error}") from error
        if IMAGE_ID not in entry.annotations:
            raise CorruptImage(f"{self._url(key)} is not a tag of this registry")
        return entry

    def _manifest(self, keys: Keys, digest: str) -> bytes:
        """A manifest's bytes, checked."""
        key = keys.blob(digest)
        found = self.bucket.get(key)
        if found is None:
            raise self._lacks(keys, digest)
        if digest_of(found.data) != digest:
            raise CorruptImage(
                f"{self._url(key)} was damaged or replaced: its bytes are {digest_of(found.data)}"
            )
        return found.data

    def _lacks(self, keys: Keys, digest: str) -> FearlessError:
        return FearlessError(
            f"{self._url(keys.blob(digest))} is missing: build the image and push it again with "
            "`doit image`"
        )

    def _url(self, key: str) -> str:
        return f"s3://{self.bucket.name}/{key}"

    def _keys(self, repository: str) -> Keys:
        return Keys(self.prefix, repository)


def _entry(tag: str, manifest: bytes, config: str) -> Descriptor:
    """What a tag holds: a descriptor, as in the `index.json` of an OCI image layout."""
    notes = {REF_NAME: tag, IMAGE_ID: config}
    return Descriptor(MANIFEST, digest_of(manifest), len(manifest), notes)


def _image(keys: Keys, tag: str, entry: Descriptor) -> Image:
    return Image(keys.repository, tag, entry.digest, entry.annotations[IMAGE_ID])


def _same(keys: Keys, tag: str, held: Descriptor, entry: Descriptor) -> None:
    if held.digest != entry.digest:
        raise Refused(
            f"{keys.repository}:{tag} is {held.digest} already, and would become "
            f"{entry.digest}: a tag never moves; delete it first if it must"
        )
