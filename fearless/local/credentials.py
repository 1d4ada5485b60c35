"""Credentials for instances: the container credentials endpoint of the AWS SDKs, on loopback.

Each instance has a token of its own and gets its role's temporary credentials for it, so the
emulator enforces the role's policies on what the app does.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fearless.errors import FearlessError

Issue = Callable[[str, str], Mapping[str, Any]]
"""`issue(role ARN, session name)` -> AccessKeyId, SecretAccessKey, Token, Expiration."""

PATH = "/credentials"
MARGIN = timedelta(minutes=15)


class Credentials:
    """Serves role credentials on a free loopback port until closed."""

    def __init__(
        self, issue: Issue, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._issue, self._clock = issue, clock
        self._lock = threading.Lock()
        self._roles: dict[str, tuple[str, str]] = {}
        self._issued: dict[str, Mapping[str, Any]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def grant(self, instance: str, role: str) -> dict[str, str]:
        """The variables by which the instance's SDK finds credentials of that role ARN."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._roles[token] = (instance, role)
        port = self._server.server_address[1]
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}{PATH}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
        }

    def revoke(self, instance: str) -> None:
        """The instance is gone; its token is no longer good."""
        with self._lock:
            gone = [token for token, (owner, _) in self._roles.items() if owner == instance]
            for token in gone:
                del self._roles[token]
                self._issued.pop(token, None)

    def answer(self, path: str, token: str) -> tuple[int, Mapping[str, Any]]:
        """`(status, body)` for a request with that Authorization header."""
        if path != PATH:
            return 404, {"message": f"no such path: {path}"}
        with self._lock:
            known = next((t for t in self._roles if hmac.compare_digest(t, token)), None)
            if known is None:
                return 401, {"message": "the authorization token is not an instance's"}
            issued = self._issued.get(known)
            if issued is None or self._clock() + MARGIN >= _expiry(issued):
                instance, role = self._roles[known]
                try:
                    issued = self._issue(role, instance)
                except (FearlessError, OSError) as error:
                    return 503, {"message": str(error)}
                self._issued[known] = issued
        return 200, issued

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _expiry(issued: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(issued["Expiration"]).replace("Z", "+00:00"))


def _handler(credentials: Credentials) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            token = self.headers.get("Authorization", "")
            status, body = credentials.answer(self.path, token)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: a request is not an event."""

    return Handler
