"""How a machine image's tags say what it is: what is inside, of what it was made, if it boots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fearless.errors import FearlessError
from fearless.interfaces import Image, MachineImage, Release

INPUTS = "fearless:inputs"
TESTED = "fearless:tested"
"""Set once the machine image has booted: without it, it is not found."""

_IMAGE = "fearless:image:"
LIMIT = 256
"""Characters of a tag's value: docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html."""


def of(release: Release, inputs: str, images: Sequence[Image]) -> dict[str, str]:
    """The tags of a machine image that was not tested yet."""
    tags = {
        **release.tags(),
        "Name": f"{release.app} {release.name}",
        INPUTS: inputs,
    }
    for number, image in enumerate(images):
        tags[f"{_IMAGE}{number}"] = image.reference
        tags[f"{_IMAGE}{number}:id"] = image.image_id
        tags[f"{_IMAGE}{number}:tag"] = image.tag
    long = [key for key, value in tags.items() if len(value) > LIMIT]
    if long:
        raise FearlessError(f"{tags[long[0]]} is too long for a tag: {LIMIT} characters at most")
    return tags


def read(tags: Mapping[str, str], ami: str) -> MachineImage:
    """The machine image that has these tags."""
    images: list[Image] = []
    while (reference := tags.get(f"{_IMAGE}{len(images)}")) is not None:
        key = f"{_IMAGE}{len(images)}"
        repository, _, digest = reference.rpartition("@")
        images.append(
            Image(repository, tags.get(f"{key}:tag", ""), digest, tags.get(f"{key}:id", ""))
        )
    return MachineImage(ami, tags.get("fearless:sha", ""), tuple(images), tags.get(INPUTS, ""))


def to_aws(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """As the API takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def from_aws(resource: Mapping[str, Any]) -> dict[str, str]:
    """The tags of anything that a `describe_*` call returned."""
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags") or ()}


def filters(wanted: Mapping[str, str | Iterable[str]]) -> list[dict[str, Any]]:
    """Filters for a `describe_*` call: tags by key (with a colon), other fields by name."""
    return [
        {
            "Name": f"tag:{name}" if ":" in name else name,
            "Values": [value] if isinstance(value, str) else list(value),
        }
        for name, value in wanted.items()
    ]
