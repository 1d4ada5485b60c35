"""HTTP to an app's own URL, where `*.localhost` means loopback whatever the resolver thinks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit


def request(
    method: str, url: str, body: Any = None, timeout: float = 10.0
) -> tuple[int, Mapping[str, str], bytes]:
    """Send one request on a fresh connection; `(status, headers, body)`, redirects not followed.

    `*.localhost` is dialled at 127.0.0.1 as RFC 6761 asks of resolvers (glibc does not do it).
    Raises OSError when nothing answers.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    address = "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(address, parts.port, timeout=timeout)
    headers = {"Host": parts.netloc, "Connection": "close"}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    path = parts.path or "/"
    try:
        connection.request(method, path + (f"?{parts.query}" if parts.query else ""), data, headers)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    except HTTPException as error:
        raise OSError(f"{url}: {type(error).__name__} {error}") from error
    finally:
        connection.close()


def get(url: str, timeout: float = 10.0) -> tuple[int, bytes]:
    """GET `url`; `(status, body)`."""
    status, _, body = request("GET", url, timeout=timeout)
    return status, body


def post(url: str, body: Any, timeout: float = 10.0) -> tuple[int, bytes]:
    """POST `body` as JSON; `(status, body)`."""
    status, _, answer = request("POST", url, body, timeout)
    return status, answer
