"""One way to call DynamoDB: our own retries, so that no request is sent twice unnoticed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)

from fearless.errors import FearlessError, NotAuthorised

Trouble = Literal["throttled", "unsent", "unknown", "final"]

_THROTTLED = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ReplicatedWriteConflictException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)


class Brake(Protocol):
    """What keeps writes within the rate that the table takes."""

    def acquire(self, writes: int, guard: Callable[[], None]) -> None:
        """Return when so many writes may be sent; `guard` may raise meanwhile."""

    def throttled(self, share: float = 1.0) -> None:
        """A request (or this share of it) was refused for lack of capacity."""


def code(error: Exception) -> str:
    """The error code the service gave, or an empty string."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def classify(error: Exception) -> Trouble:
    """What an error says about the request.

    `throttled`: answered, not done (or done: repeating is harmless as nothing is under way);
    `unsent`: it never left; `unknown`: it may still land later; `final`: repeating is useless.
    """
    if isinstance(error, ClientError):
        if code(error) in _THROTTLED or _expired(error):
            return "throttled"
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
        return "throttled" if status >= 500 else "final"
    if isinstance(error, ConnectTimeoutError | EndpointConnectionError):
        return "unsent"
    if isinstance(error, HTTPClientError):
        return "unknown"
    return "final"


def _expired(error: ClientError) -> bool:
    """Whether the request was refused for its age: it was late, and nothing was done."""
    return code(error) == "InvalidSignatureException" and "expired" in str(error).lower()


class Caller:
    """Calls a client's method until it is answered, with backoff that jitters.

    `guard` runs before each request and may raise (a lost lease, a stop). `unknown` hears of
    each *write* that may still land later, `interrupted` of one that Ctrl-C broke off. Gives up
    loudly after `patience` seconds of failures in a row.
    """

    def __init__(
        self,
        guard: Callable[[], None],
        unknown: Callable[[], None],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        interrupted: Callable[[], None] = lambda: None,
        patience: float = 600.0,
        rng: random.Random | None = None,
        brake: Brake | None = None,
    ) -> None:
        self.guard = guard
        self.unknown = unknown
        self.clock = clock
        self.sleep = sleep
        self.interrupted = interrupted
        self.patience = patience
        self.rng = rng or random.Random()
        self.brake = brake

    def read(self, method: Callable[..., Any], **request: Any) -> Any:
        """Call something that changes nothing."""
        return self._call(method, request, None)

    def write(self, method: Callable[..., Any], **request: Any) -> Any:
        """Call something that changes data, and may be done again without harm."""
        return self._call(method, request, self.unknown)

    def pause(self, attempt: int) -> None:
        """Back off after the `attempt`-th failure (from 0): 25 ms doubling to 5 s, jittered."""
        ceiling = min(5.0, 0.025 * 2.0 ** min(attempt, 10))
        self.sleep(self.rng.uniform(ceiling / 4, ceiling))

    def _call(
        self, method: Callable[..., Any], request: Any, unknown: Callable[[], None] | None
    ) -> Any:
        attempt, since = 0, self.clock()
        while True:
            if unknown is not None:
                self.guard()
            try:
                return method(**request)
            except (ClientError, BotoCoreError) as error:
                trouble = classify(error)
                if trouble == "unknown" and unknown is not None:
                    unknown()
                if trouble == "final":
                    raise
                if trouble == "throttled" and unknown is not None and self.brake is not None:
                    self.brake.throttled()
                if self.clock() - since > self.patience:
                    raise FearlessError(
                        f"{getattr(method, '__name__', 'a request')} kept failing for "
                        f"{self.patience:.0f} s: {error}; nothing is lost: run it again"
                    ) from error
            except (KeyboardInterrupt, SystemExit):
                if unknown is not None:
                    self.interrupted()
                raise
            self.pause(attempt)
            attempt += 1


def explain(error: Exception, doing: str) -> FearlessError:
    """The one-line error for what a client raised and nobody could deal with."""
    if code(error) in _DENIED:
        return NotAuthorised(f"{doing}: {error}")
    return FearlessError(f"{doing}: {error}")
