"""A request to DynamoDB that arrives too long after it was signed is refused, as on AWS.

MiniStack checks that for IAM users and sessions, not for the root credentials everything local
works with. FEARLESS_SIGNATURE_SECONDS shortens AWS's 15 minutes, so that a test can see a writer
that was stopped and woken up again come too late.
"""

from __future__ import annotations

import json
import os
import re
import uuid
import zlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fearless.errors import ConfigError

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
VARIABLE = "FEARLESS_SIGNATURE_SECONDS"
SECONDS = 900.0
STAMP = "%Y%m%dT%H%M%SZ"
SCOPE = re.compile(rb"Credential=[^,]*/dynamodb/aws4_request")


def expired(signed: str, seconds: float, now: datetime) -> str | None:
    """What AWS says of a request with that X-Amz-Date once it is older than so many seconds."""
    edge = now - timedelta(seconds=seconds)
    try:
        stamp = datetime.strptime(signed, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    if stamp >= edge:
        return None
    return (
        f"Signature expired: {signed} is now earlier than {edge:{STAMP}} "
        f"({now:{STAMP}} - {seconds / 60:g} min.)"
    )


def middleware(app: Asgi, seconds: float) -> Asgi:
    """Refuse what is too old once all of it is there; everything else is served by `app`."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if not SCOPE.search(headers.get(b"authorization", b"")):
            await app(scope, receive, send)
            return
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        signed = headers.get(b"x-amz-date", b"").decode("latin-1")
        if said := expired(signed, seconds, datetime.now(UTC)):
            await refuse(send, said)
            return
        messages.reverse()

        async def again() -> Any:
            return messages.pop() if messages else await receive()

        await app(scope, again, send)

    return serve


async def refuse(send: Any, message: str) -> None:
    """Answer as DynamoDB answers a signature that it does not accept."""
    code = "InvalidSignatureException"
    said = {"__type": f"com.amazon.coral.service#{code}", "message": message}
    body = json.dumps(said).encode()
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "content-length": str(len(body)),
        "x-amzn-requestid": str(uuid.uuid4()),
        "x-amzn-errortype": code,
        "x-amz-crc32": str(zlib.crc32(body)),
    }
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 400, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def install(environment: Mapping[str, str] = os.environ) -> None:
    """Check the age of each request in front of the application MiniStack is about to serve."""
    given = environment.get(VARIABLE, str(SECONDS))
    try:
        seconds = float(given)
    except ValueError:
        raise ConfigError(f"{VARIABLE} must be a number of seconds, is {given!r}") from None
    import ministack.app

    ministack.app.app = middleware(ministack.app.app, seconds)
