"""HTTP connections to one endpoint, kept open between requests: TLS, proxies, threads.

http.client opens them; what is said on them is `connection`'s.
"""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, SSLError
from botocore.httpsession import get_cert_path

from fearless.data.connection import Connection
from fearless.errors import ConfigError
from fearless.owner import boottime

IDLE_SECONDS = 4.0
"""Longer than that unused and a server may be about to close it, which would look like a request
that nobody can say was done."""


class Connections:
    """To one endpoint, from any thread: `take` one, use it, `give` it back or close it.

    `connect` and `read` are seconds; at most `keep` are kept when nobody uses them. `bundle` is
    a file of certificates to trust, or AWS_CA_BUNDLE, or REQUESTS_CA_BUNDLE, or certifi's.
    Proxies are those of the environment; nothing on this machine is asked through one.
    """

    def __init__(
        self,
        url: str,
        connect: float,
        read: float,
        keep: int = 32,
        bundle: str | None = None,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.url = url
        self._parts = urlsplit(url)
        self._connect = connect
        self._read = read
        self._clock = clock
        self._keep = keep
        self._idle: deque[Connection] = deque()
        self._process = os.getpid()
        self._proxy = _proxy(self._parts)
        named = bundle or os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
        self._tls = (
            ssl.create_default_context(cafile=named or get_cert_path(True))
            if self._parts.scheme == "https"
            else None
        )
        self.prefix = url if self._proxy and self._tls is None else ""
        """What goes before the path of a request: a proxy of plain HTTP wants the whole URL."""

    def proxy_headers(self) -> dict[str, str]:
        """What a proxy must be told with each request that it can read."""
        return _proxy_headers(self._proxy) if self._proxy and self._tls is None else {}

    def take(self) -> Connection:
        """One that is open now.

        Raises ConnectTimeoutError, EndpointConnectionError or, for certificates, SSLError.
        """
        if self._process != os.getpid():
            self._idle, self._process = deque(), os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if self._clock() - connection.since < IDLE_SECONDS and not connection.stale:
                return connection
            connection.close()
        return self._open()

    def give(self, connection: Connection) -> None:
        """Keep it for the next request, when it can be used again."""
        connection.since = self._clock()
        if connection.reusable and len(self._idle) < self._keep:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _open(self) -> Connection:
        opened = self._opener()
        try:
            self._connect_to(opened)
        except BaseException:
            opened.close()
            raise
        return Connection(opened.sock, self.url, self._read, self._clock)

    def _connect_to(self, opened: HTTPConnection) -> None:
        try:
            opened.connect()
        except ssl.SSLCertVerificationError as error:
            raise SSLError(endpoint_url=self.url, error=error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=self.url, error=error) from error
        except (OSError, HTTPException) as error:
            raise EndpointConnectionError(endpoint_url=self.url, error=error) from error

    def _opener(self) -> HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._tls is None:
            via = self._proxy or self._parts
            return HTTPConnection(via.hostname or "", via.port or 80, timeout=self._connect)
        if self._proxy is None:
            return HTTPSConnection(host, port or 443, timeout=self._connect, context=self._tls)
        proxy = self._proxy.hostname or "", self._proxy.port or 80
        tunnel = HTTPSConnection(*proxy, timeout=self._connect, context=self._tls)
        tunnel.set_tunnel(host, port or 443, _proxy_headers(self._proxy))
        return tunnel


def near(host: str) -> bool:
    """True for this machine's loopback."""
    return host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost")


def _proxy(url: SplitResult) -> SplitResult | None:
    host = url.hostname or ""
    found = getproxies().get(url.scheme)
    if not found or near(host) or proxy_bypass(host):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise ConfigError(
            f"the proxy for {url.scheme} in the environment is of scheme {proxy.scheme!r}: "
            "only http:// proxies are used; or name the host in NO_PROXY"
        )
    return proxy


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(secret.encode()).decode()}"}
