"""How a registry wants to be told who we are: Basic, or a Bearer token from its token server.

https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from fearless.interfaces import Login

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SHORTEST = 60.0
"""Seconds a token is good for when the server does not say (the specification's default)."""


@dataclass(frozen=True)
class Challenge:
    """What a `WWW-Authenticate` header asks for: `scheme` is lower case."""

    scheme: str
    parameters: Mapping[str, str]

    def url(self, scopes: tuple[str, ...], login: Login | None) -> str:
        """Where to get a Bearer token for what was asked for and for `scopes`."""
        rights: dict[str, set[str]] = {}
        for scope in (*self.parameters.get("scope", "").split(), *scopes):
            resource, _, actions = scope.rpartition(":")
            rights.setdefault(resource, set()).update(actions.split(","))
        query = [("service", self.parameters["service"])] if "service" in self.parameters else []
        query += [("account", login.username)] if login else []
        query += [("scope", f"{of}:{','.join(sorted(do))}") for of, do in rights.items()]
        realm = self.parameters.get("realm", "")
        return f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"


@dataclass(frozen=True)
class Token:
    """A Bearer token, and the clock's time after which it is not used any more."""

    value: str
    until: float


def challenge(headers: list[str]) -> Challenge | None:
    """The first challenge we can meet; None when there is none."""
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        if scheme.lower() in ("basic", "bearer"):
            found = {name: quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
            return Challenge(scheme.lower(), found)
    return None


def basic(login: Login) -> str:
    """The value of an `Authorization` header."""
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


def token(answer: bytes, now: float) -> Token:
    """What a token server answered; raises ValueError when that is no token.

    A quarter of its life is left unused, for a request that takes long.
    """
    data = json.loads(answer)
    try:
        value, seconds = data.get("token") or data["access_token"], data.get("expires_in")
    except (AttributeError, KeyError, TypeError):
        raise ValueError("its answer has no token") from None
    lasts = float(seconds) if isinstance(seconds, int | float) else _SHORTEST
    return Token(str(value), now + lasts * 0.75)
