"""ECR's passwords: thrown away after twelve hours, and renewed when an hour or less is left."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from fearless.builtin.aws import explained
from fearless.interfaces import Login

MARGIN = 3600.0
"""Seconds a password must be good for at least when it is given away: a push may take long."""


class Logins:
    """The registry of an account and region, and how to sign in there now.

    `server` is another one to sign in at with the same password; without it, ECR says which.
    """

    def __init__(
        self, client: Callable[[], Any], server: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._server = server
        self._clock = clock
        self._login: Login | None = None
        self._until = 0.0

    def get(self) -> Login:
        """A login good for an hour at least; raises NotAuthorised when AWS gives none."""
        if self._login is None or self._until - self._clock() < MARGIN:
            with explained("asking ECR for a password"):
                (data,) = self._client().get_authorization_token()["authorizationData"]
            token = base64.b64decode(data["authorizationToken"]).decode()
            username, _, password = token.partition(":")
            server = self._server or urlsplit(str(data["proxyEndpoint"])).netloc
            self._login = Login(server, username, password)
            self._until = data["expiresAt"].timestamp()
        return self._login
