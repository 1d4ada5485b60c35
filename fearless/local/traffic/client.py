"""One customer's HTTP connection, which behaves as browsers do, and only ever on loopback."""

from __future__ import annotations

import ipaddress
import json
import select
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from fearless.errors import ConfigError, Refused


@dataclass(frozen=True)
class Target:
    """Where requests go: the address dialled, and the name asked for."""

    address: str
    port: int
    host: str
    base: str


def target(url: str) -> Target:
    """The target of a loopback URL; raises Refused for any other host."""
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError as error:
        raise ConfigError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(f"{url!r} is not a URL such as http://shop.localhost:8080")
    address = _loopback(parts.hostname)
    if address is None:
        raise Refused(
            f"{url} is not on this machine: traffic writes test orders, so it only goes to "
            "localhost, *.localhost, 127.0.0.0/8 or [::1]"
        )
    return Target(address, port, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"))


def _loopback(host: str) -> str | None:
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return host if ipaddress.ip_address(host).is_loopback else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Answer:
    """What came back. `resent` means an earlier sending of it may have been carried out."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    resent: bool = False

    @property
    def json(self) -> Any:
        """The decoded body; None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def paused(self) -> bool:
        """Whether it says that writes are paused, and when to try again."""
        return (
            self.status == 503
            and "retry-after" in self.headers
            and isinstance(self.json, dict)
            and self.json.get("error") == "writes are paused"
        )

    @property
    def retry_after(self) -> float:
        """After how many seconds it says to try again; 1 when it says nothing sensible."""
        value = self.headers.get("retry-after", "")
        return min(float(value), 10.0) if value.isdecimal() else 1.0


class Unanswered(Exception):
    """No answer. `ambiguous` when the request may have been carried out all the same."""

    def __init__(self, reason: str, ambiguous: bool) -> None:
        super().__init__(reason)
        self.ambiguous = ambiguous


class Client:
    """A connection kept alive between requests, or a new one for each of them.

    Every request it is used for may be sent twice, so a kept connection that the server
    closed meanwhile is opened again and the request resent, once, and counted.
    """

    def __init__(self, target: Target, keep_alive: bool = True, timeout: float = 10.0) -> None:
        self._target = target
        self._keep_alive = keep_alive
        self._connection = HTTPConnection(target.address, target.port, timeout=timeout)
        self.reconnects = 0

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Send one request; raises Unanswered."""
        kept = self._kept()
        try:
            return self._exchange(method, path, body)
        except (ConnectionResetError, BrokenPipeError) as error:
            if not kept:
                raise Unanswered(_reason(error), ambiguous=True) from error
        except (OSError, HTTPException) as error:
            raise Unanswered(_reason(error), not _never_sent(error)) from error
        self.reconnects += 1
        try:
            return self._exchange(method, path, body, resent=True)
        except (OSError, HTTPException) as error:
            raise Unanswered(_reason(error), ambiguous=True) from error

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def _kept(self) -> bool:
        """Whether a connection is open; one the server closed while it was idle is not."""
        if self._connection.sock is None:
            return False
        closed, _, _ = select.select([self._connection.sock], [], [], 0)
        if closed:
            self._connection.close()
            self.reconnects += 1
        return not closed

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, resent: bool = False
    ) -> Answer:
        headers = {"Host": self._target.host}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if not self._keep_alive:
            headers["Connection"] = "close"
        try:
            self._connection.request(method, self._target.base + path, data, headers)
            response = self._connection.getresponse()
        except (OSError, HTTPException):
            self._connection.close()
            raise
        try:
            content = response.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise Unanswered(f"the answer broke off: {_reason(error)}", True) from error
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, content, resent)


def _never_sent(error: Exception) -> bool:
    return isinstance(error, ConnectionRefusedError)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
