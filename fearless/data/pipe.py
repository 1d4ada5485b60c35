"""What a crew and its worker processes tell each other: lines of JSON, through pipes.

To a worker: first `job`, `hire`, `threads`, `path` and `credentials`, then `unit` with a `number`,
fresh `credentials`, or `stop`. The end of the pipe means the same as `stop`. From a worker:
`ready`, `beat`, `done` or `failed` with the number of a unit, and `lost`.
"""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

from fearless.errors import FearlessError, explain

Message = Mapping[str, Any]


class Frozen(NamedTuple):
    """Keys of one moment, as botocore's signers take them."""

    access_key: str
    secret_key: str
    token: str | None


class Keys:
    """Credentials that somebody else renews."""

    def __init__(self, *values: str | None) -> None:
        self.renew(*values)

    def renew(self, *values: str | None) -> None:
        """Sign with these from now on."""
        access_key, secret_key, token = values
        self._frozen = Frozen(access_key or "", secret_key or "", token)

    def get_frozen_credentials(self) -> Frozen:
        """The keys of this moment."""
        return self._frozen

    @property
    def access_key(self) -> str:
        """Who signs."""
        return self._frozen.access_key

    @property
    def secret_key(self) -> str:
        """What signs."""
        return self._frozen.secret_key

    @property
    def token(self) -> str | None:
        """What proves that they are temporary, and still valid."""
        return self._frozen.token


def frozen(credentials: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Credentials by side as they go through a pipe; fetched anew where they are about to end."""
    values = {}
    for side, keys in credentials.items():
        now = keys.get_frozen_credentials()
        values[side] = [now.access_key, now.secret_key, now.token]
    return values


def encode(message: Message) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def named(name: str) -> Any:
    """What `package.module:name` is."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def told(error: BaseException) -> dict[str, str]:
    """An error as a message: its class, and its one line."""
    known = explain(error) if isinstance(error, Exception) else None
    if known is not None:
        kind = type(known)
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "text": str(known.args[0])}
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    text = f"a worker failed: {type(error).__name__}: {' '.join(str(error).split())}{where}"
    return {"class": "fearless.errors:FearlessError", "text": text}


def retold(error: Mapping[str, str]) -> FearlessError:
    """The error again, of the class it was; FearlessError where that cannot be."""
    name, text = error["class"], error["text"]
    if name.startswith("fearless."):
        try:
            made = named(name)(text)
        except (ImportError, AttributeError, TypeError):
            return FearlessError(text)
        if isinstance(made, FearlessError):
            return made
    return FearlessError(text)
