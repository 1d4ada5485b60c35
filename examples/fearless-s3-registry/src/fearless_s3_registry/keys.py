"""The names of the objects in the bucket: an OCI image layout for each repository."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fearless import FearlessError
from fearless.oci import hex_of

_REPOSITORY = re.compile(r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def is_repository(name: str) -> bool:
    """Whether OCI allows a repository to be called so."""
    return bool(_REPOSITORY.fullmatch(name))


@dataclass(frozen=True)
class Keys:
    """Where everything of one repository lies. Raises FearlessError for a name OCI does not allow.

    `prefix` is empty, or ends in a slash: `images/`.
    """

    prefix: str
    repository: str

    def __post_init__(self) -> None:
        if not is_repository(self.repository):
            raise FearlessError(
                f"{self.repository!r} is not the name of a repository: lower-case letters and "
                "digits, with `.`, `_` or `-` between them"
            )

    @property
    def blobs(self) -> str:
        """What the keys of all blobs begin with: layers, configurations and manifests alike."""
        return f"{self._root}blobs/sha256/"

    def blob(self, digest: str) -> str:
        """The blob of that digest."""
        return f"{self.blobs}{hex_of(digest)}"

    @property
    def tags(self) -> str:
        """What the keys of all tags begin with."""
        return f"{self._root}tags/"

    def tag(self, name: str) -> str:
        """The object that says what a tag names."""
        if not _TAG.fullmatch(name):
            raise FearlessError(
                f"{name!r} is not a tag: up to 128 letters, digits, `_`, `.` and `-`, and neither "
                "`.` nor `-` first"
            )
        return f"{self.tags}{name}"

    @property
    def pins(self) -> str:
        """What the keys of all pins begin with: what pushes under way need."""
        return f"{self._root}pins/"

    @property
    def collecting(self) -> str:
        """The mark of the one collection that may go on."""
        return f"{self._root}collecting"

    @property
    def _root(self) -> str:
        return f"{self.prefix}{self.repository}/"
