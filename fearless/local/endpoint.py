"""boto3 clients and the private surface of a running emulator."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from threading import Lock
from typing import Any
from urllib.parse import quote

from fearless.errors import FearlessError
from fearless.http import request

REGION = "us-east-1"
ACCOUNT = "000000000000"
KEY = "test"
DAEMON = "fearless-daemon"


def root_credentials() -> Any:
    """The emulator's, which may do anything; as botocore has them."""
    from botocore.credentials import Credentials

    return Credentials(KEY, KEY)


class Endpoint:
    """An emulator at `url`. `agent` is added to the user agent of every call."""

    def __init__(self, url: str, agent: str = "") -> None:
        self.url = url
        self._agent = agent
        self._clients: dict[str, Any] = {}
        self._lock = Lock()

    def client(self, service: str) -> Any:
        """A boto3 client with the emulator's root credentials, cached.

        Neither the user's AWS profile nor a proxy has any effect on it.
        """
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: str) -> Any:
        import boto3
        import botocore.session
        from botocore.config import Config

        config = Config(
            region_name=REGION,
            account_id_endpoint_mode="disabled",
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 4},
            max_pool_connections=32,
            user_agent_extra=self._agent,
            proxies={},
        )
        isolated = botocore.session.Session(
            {
                "profile": (None, None, None, None),
                "config_file": (None, None, os.devnull, None),
                "credentials_file": (None, None, os.devnull, None),
            }
        )
        session: Any = boto3.session.Session(
            aws_access_key_id=KEY,
            aws_secret_access_key=KEY,
            region_name=REGION,
            botocore_session=isolated,
        )
        return session.client(service, endpoint_url=self.url, config=config)

    def answers(self) -> bool:
        """True when the emulator serves requests now."""
        try:
            return request("GET", f"{self.url}/_ministack/health", timeout=2)[0] == 200
        except OSError:
            return False

    def close(self) -> None:
        """Close every connection, so that the emulator need not wait for them to stop."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients = {}

    # ------------------------------------------------------------------ private surface

    def revision(self) -> int:
        """A number that grows when someone else calls a service the daemon watches."""
        return int(self._ask("GET", "revision"))

    def report_group(self, name: str, instances: list[dict[str, str]]) -> None:
        """Make the auto-scaling group show these instances."""
        self._ask("PUT", f"groups/{quote(name, safe='')}", instances, tolerate=(404,))

    def report_health(self, groups: Mapping[str, Any]) -> None:
        """Make `describe_target_health` answer this."""
        self._ask("PUT", "health", groups)

    def report_failures(self, groups: Mapping[str, Any]) -> None:
        """Make `describe_scaling_activities` answer this."""
        self._ask("PUT", "failures", groups)

    def instance_credentials(self, role: str, session: str) -> dict[str, Any]:
        """Temporary credentials as EC2 gives them to an instance with that role ARN."""
        return dict(
            json.loads(self._ask("POST", "credentials", {"role": role, "session": session}))
        )

    def _ask(
        self, method: str, path: str, body: Any = None, tolerate: tuple[int, ...] = ()
    ) -> bytes:
        status, _, answer = request(method, f"{self.url}/_fearless/{path}", body)
        if status >= 300 and status not in tolerate:
            raise FearlessError(f"emulator: {answer.decode(errors='replace')}")
        return answer
