"""The private HTTP surface by which the daemon tells the emulator what really runs.

`PUT /_fearless/groups/<name>` with a JSON list of `{InstanceId, LifecycleState, HealthStatus,
AvailabilityZone}`: the instances of an auto-scaling group. `PUT /_fearless/health` with
`{target group ARN: {target id: {state, port, description}}}`: everything measured, replacing the
last report. `PUT /_fearless/failures` with `{group: [{id, at, reason}]}`, newest first: the
scaling activities that failed, replacing the last report. All of them answer 204.
`POST /_fearless/credentials` with `{role, session}`: what EC2 gives an instance of that role ARN.
`GET /_fearless/revision`: a number that grows whenever someone other than the daemon calls a
service it watches. A mistake is answered 4xx with one line of text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote

from fearless.local.emulation import balancing, permissions, scaling

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
PREFIX = "/_fearless/"
REGION = "us-east-1"
ACCOUNT = "000000000000"
DAEMON = b"fearless-daemon"
"""In the user agent of the daemon's own calls."""
SCOPE = re.compile(rb"Credential=[^,]*/([a-z0-9-]+)/aws4_request")
WATCHED = {
    "autoscaling",
    "cloudformation",
    "ec2",
    "elasticloadbalancing",
    "iam",
    "route53",
    "ssm",
}


class Revision:
    """Counts the calls that may have changed what the daemon watches."""

    def __init__(self) -> None:
        self.number = 0

    def hear(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Count a request with these headers, unless it is the daemon's or of no interest."""
        found = dict(headers)
        service = SCOPE.search(found.get(b"authorization", b""))
        if (
            service
            and service[1].decode() in WATCHED
            and DAEMON not in found.get(b"user-agent", b"")
        ):
            self.number += 1


class Admin:
    """Answers the daemon's requests."""

    def __init__(self, health: balancing.MeasuredHealth, failures: scaling.Failures) -> None:
        self.health = health
        self.failures = failures
        self.revision = Revision()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, str]:
        """`(status, text)`; the request is applied when the status is 2xx."""
        try:
            match method, path.removeprefix(PREFIX).partition("/"):
                case "GET", ("revision", _, _):
                    return 200, str(self.revision.number)
                case "PUT", ("health", _, _):
                    return self._put_health(json.loads(body))
                case "PUT", ("failures", _, _):
                    self.failures.put(json.loads(body))
                    return 204, ""
                case "PUT", ("groups", _, name):
                    found = scaling.report(unquote(name), json.loads(body))
                    return (204, "") if found else (404, f"no auto-scaling group {name!r}")
                case "POST", ("credentials", _, _):
                    request = json.loads(body)
                    issued = permissions.instance_credentials(request["role"], request["session"])
                    return 200, json.dumps(issued)
        except PermissionError as error:
            return 403, str(error)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return 400, f"not a request: {type(error).__name__} {error}"
        return 404, f"nothing answers {method} {path}"

    def _put_health(self, groups: Any) -> tuple[int, str]:
        states = {about["state"] for group in groups.values() for about in group.values()}
        if wrong := states - set(balancing.STATES):
            return 400, f"unknown health {sorted(wrong)}, have: {', '.join(balancing.STATES)}"
        self.health.groups = groups
        return 204, ""


def middleware(app: Asgi, admin: Admin) -> Asgi:
    """Serve `/_fearless/` here and everything else by `app`."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            admin.revision.hear(scope.get("headers", ()))
            await app(scope, receive, send)
            return
        from ministack.core.responses import set_request_account_id, set_request_region

        set_request_account_id(ACCOUNT)
        set_request_region(REGION)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, text = admin.answer(scope["method"], scope["path"], body)
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    return serve


def install(health: balancing.MeasuredHealth, failures: scaling.Failures) -> None:
    """Put the surface in front of the application MiniStack is about to serve."""
    import ministack.app

    ministack.app.app = middleware(ministack.app.app, Admin(health, failures))
