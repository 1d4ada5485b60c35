"""What a tag names: a manifest of Docker's or OCI's, or an index of one for each platform. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fearless import oci
from fearless.errors import FearlessError
from fearless.oci import CorruptImage, Descriptor, Manifest

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (oci.MANIFEST, DOCKER_MANIFEST)
INDEXES = (oci.INDEX, DOCKER_LIST)
DELETED = "application/vnd.fearless.deleted.v1+json"
"""Type of the configuration of what a tag names for a moment while it is being deleted."""


class NoOneImage(FearlessError):
    """A tag names an index, and it is not clear which image of it is meant."""


@dataclass(frozen=True)
class Document:
    """A manifest or an index: exactly the bytes its digest is of."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """`sha256:...` of the bytes."""
        return oci.digest_of(self.data)


@dataclass(frozen=True)
class Found:
    """The image that a tag or digest leads to.

    `held` is the digest the tag itself names: an index's, where `document` is the manifest in it.
    """

    held: str
    document: Document
    manifest: Manifest

    @property
    def digests(self) -> frozenset[str]:
        """Everything that this image may rightly be called by, its id included."""
        return frozenset({self.held, self.document.digest, self.manifest.config.digest})

    @property
    def size(self) -> int:
        """Bytes at the registry: all its blobs, compressed as they are."""
        return sum(blob.size for blob in self.manifest.blobs)


Fetch = Callable[[str], Document | None]


def resolve(fetch: Fetch, reference: str, platform: str, name: str) -> Found | None:
    """The image that `reference` (a tag or digest) leads to; None when there is none.

    `platform` (`linux/amd64`) decides between several of an index; `name` is for messages. Raises
    NoOneImage when it does not, CorruptImage for what is no image.
    """
    document = fetch(reference)
    if document is None:
        return None
    held = document.digest
    data = _json(document, name)
    if document.media_type in INDEXES or "manifests" in data:
        digest = choose(data.get("manifests") or (), platform, name)
        document = fetch(digest)
        if document is None:
            raise CorruptImage(f"{name}: the index names {digest}, and the registry has lost it")
    found = Found(held, document, _manifest(document, name))
    return None if found.manifest.config.media_type == DELETED else found


def choose(entries: Iterable[Mapping[str, Any]], platform: str, name: str) -> str:
    """The digest of the one entry of an index that can be run; attestations cannot."""
    found: dict[str, str] = {}
    for entry in entries:
        of = entry.get("platform") or {}
        if of.get("os") != "unknown":
            variant = f"/{of['variant']}" if of.get("variant") else ""
            found[f"{of.get('os', '?')}/{of.get('architecture', '?')}{variant}"] = entry["digest"]
    if platform:
        if platform in found:
            return found[platform]
        raise NoOneImage(
            f"{name} has no image for {platform} (has: {', '.join(found) or 'none'}): correct "
            "`[registry] platform`, or build for it"
        )
    if len(found) != 1:
        raise NoOneImage(
            f"{name} is an index of {len(found)} platforms ({', '.join(found) or 'none'}): say "
            "which one is deployed with `[registry] platform`"
        )
    return next(iter(found.values()))


def of_layout(layout: oci.Layout, digest: str) -> Document:
    """The manifest of a layout, with the type it says it has."""
    data = layout.get(digest)
    return Document(data, json.loads(data).get("mediaType", oci.MANIFEST))


def tombstone(tag: str) -> tuple[bytes, Descriptor, Document]:
    """A configuration, its descriptor, and a manifest that say no more than: this tag is deleted.

    With most registries a tag alone cannot be deleted, but what it names can.
    """
    config = oci.canonical({"deleted": tag})
    blob = Descriptor(DELETED, oci.digest_of(config), len(config))
    return config, blob, Document(Manifest(blob, ()).to_bytes(), oci.MANIFEST)


def _manifest(document: Document, name: str) -> Manifest:
    try:
        return Manifest.from_bytes(document.data)
    except CorruptImage as error:
        raise CorruptImage(f"{name}: {error.args[0]}") from error


def _json(document: Document, name: str) -> Mapping[str, Any]:
    try:
        data = json.loads(document.data)
    except ValueError as error:
        raise CorruptImage(f"{name}: its manifest is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise CorruptImage(f"{name}: its manifest is not a JSON object")
    return data
