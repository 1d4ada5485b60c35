"""What names an image: `registry.example.com:5000/team/shop:tag@sha256:...`, taken apart. Pure.

The grammar is that of https://github.com/distribution/reference; which part is the registry is
decided as Docker does: the first component, if it has a dot or a port, or is `localhost`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from fearless.errors import FearlessError

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 255


@dataclass(frozen=True)
class Reference:
    """An image's name. `registry`, `tag` and `digest` are empty where it has none."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Without tag and digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse(text: str) -> Reference:
    """Take a reference apart; raises FearlessError saying which part is not one, and why.

    `host:5000/shop` has a port and no tag, `shop:5000` has a tag and no port.
    """
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(text, f"{digest!r} is not a digest (`sha256:` and 64 hex digits)")
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, f"{tag!r} is not a tag (letters, digits, `_`, `.` and `-`, 128 at most)")
    registry, repository = _split(f"{head}{slash}{last}")
    if registry and not is_host(registry):
        raise _wrong(text, f"{registry!r} is not a host name with or without a port")
    if not is_repository(repository):
        raise _wrong(
            text,
            f"{repository!r} is not a repository (lower-case letters and digits, single `.`, `_` "
            f"and `-` between them, parts separated by `/`, {_LONGEST} at most)",
        )
    return Reference(registry, repository, tag, digest)


def is_tag(text: str) -> bool:
    """Whether an image can be tagged so."""
    return _TAG.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Whether a repository can have that name."""
    return len(text) <= _LONGEST and all(_COMPONENT.fullmatch(part) for part in text.split("/"))


def is_host(text: str) -> bool:
    """Whether it is a host name or address, with a port or without."""
    return _HOST.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether `host` (with or without a port) is this machine and nobody else can listen in.

    Docker engines talk plain HTTP to such registries by themselves.
    """
    name = re.sub(r":\d+$", "", host).strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return "", name


def _wrong(text: str, why: str) -> FearlessError:
    return FearlessError(f"not the name of an image: {text!r}: {why}")
