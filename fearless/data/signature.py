"""The head of a signed request. botocore derives the key and signs; what is signed is fixed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from botocore.auth import SigV4Auth

CONTENT = "application/x-amz-json-1.0"


class Signer:
    """Signs what is posted to `/` of `host`, a DynamoDB endpoint of `region`."""

    def __init__(self, host: str, region: str, agent: str) -> None:
        self._host = host
        self._region = region
        self._agent = agent

    def head(
        self,
        target: str,
        body: bytes,
        credentials: Any,
        now: float,
        prefix: str = "",
        unsigned: Mapping[str, str] | None = None,
    ) -> bytes:
        """Everything before the body, signed at `now` (Unix seconds).

        `credentials` are frozen ones; `prefix` goes before the path, which a proxy needs.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        headers = {"content-type": CONTENT, "host": self._host, "x-amz-date": stamp}
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        headers["x-amz-target"] = target
        names = ";".join(headers)
        lines = [f"{name}:{value}" for name, value in headers.items()]
        canonical = "\n".join(["POST", "/", "", *lines, "", names, sha256(body).hexdigest()])
        auth: Any = SigV4Auth(credentials, "dynamodb", self._region)
        request = SimpleNamespace(context={"timestamp": stamp})
        signature = auth.signature(auth.string_to_sign(request, canonical), request)
        lines += [
            f"authorization:AWS4-HMAC-SHA256 Credential={auth.scope(request)}, "
            f"SignedHeaders={names}, Signature={signature}",
            f"user-agent:{self._agent}",
            f"content-length:{len(body)}",
            *(f"{name}:{value}" for name, value in (unsigned or {}).items()),
        ]
        text = "\r\n".join([f"POST {prefix}/ HTTP/1.1", *lines, "", ""])
        return text.encode("latin-1")
