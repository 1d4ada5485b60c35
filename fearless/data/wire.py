"""DynamoDB and its streams by one small client: typed JSON as it is, one request per call.

A drop-in for the methods of boto3's low-level clients that the data plane calls, at a fraction
of the CPU. Binary values are base64 text in answers, and bytes or base64 text in requests.
"""

from __future__ import annotations

import copy
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import orjson
from botocore.exceptions import ClientError, NoCredentialsError

from fearless.data.calls import explain
from fearless.data.connection import Answer, Connection
from fearless.data.connections import Connections
from fearless.data.pieces import PIECE, Page, Pieces, Whole
from fearless.data.server_time import ServerTime
from fearless.data.signature import Signer
from fearless.errors import ConfigError
from fearless.owner import boottime

Service = Literal["dynamodb", "streams"]
Call = Callable[..., dict[str, Any]]
Read = TypeVar("Read")

PREFIXES = {"dynamodb": "DynamoDB_20120810", "streams": "DynamoDBStreams_20120810"}


def _methods(operations: str) -> dict[str, str]:
    """By their names in Python: `get_item` for GetItem."""
    names = operations.split()
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in n)[1:]: n for n in names}


OPERATIONS = {
    "dynamodb": _methods(
        "BatchGetItem BatchWriteItem CreateTable DeleteItem DeleteTable"
        " DescribeContinuousBackups DescribeLimits DescribeTable DescribeTimeToLive GetItem"
        " ListTables ListTagsOfResource PutItem Query Scan TransactGetItems TransactWriteItems"
        " UpdateContinuousBackups UpdateItem UpdateTable UpdateTimeToLive"
    ),
    "streams": _methods("DescribeStream GetRecords GetShardIterator ListStreams"),
}


class Wire:
    """A client of `service` at `url`, for use by any number of threads.

    `credentials` are botocore's, or anything with `get_frozen_credentials()`, which is asked
    before each request. `connect` is how many seconds a connection may take, `read` how many
    the sending of a request, and each pause in its answer; `pool` is how many connections are
    kept. `guard` runs just before a request leaves and may raise: then nothing was sent.
    `bundle` is a file of certificates to trust instead of the standard ones.

    Each call sends one request, never two. It raises ClientError with what the service answered
    (also `Item`, `CancellationReasons` and so on); ConnectTimeoutError, EndpointConnectionError
    or SSLError when the request was not sent, at least not in full; and an HTTPClientError when
    it was sent and nobody can say whether it was, or will be, done.
    """

    def __init__(
        self,
        service: Service,
        url: str,
        region: str,
        credentials: Any,
        *,
        connect: float = 2.0,
        read: float = 10.0,
        pool: int = 32,
        guard: Callable[[], None] | None = None,
        bundle: str | None = None,
        ticks: Callable[[], float] = boottime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = _checked(url)
        self.service = service
        self.region = region
        if credentials is None:
            raise NoCredentialsError()
        self._credentials = credentials
        self._guard = guard
        self._ticks = ticks
        self._wall = wall
        self._time = ServerTime(ticks, wall)
        self._connections = Connections(self.endpoint, connect, read, pool, bundle, ticks)
        self._signer = Signer(_host(self.endpoint), region, f"fearless/{_version()}")

    def __repr__(self) -> str:
        return f"<Wire {self.service} {self.endpoint}>"

    def __getattr__(self, name: str) -> Call:
        operation = None if name.startswith("_") else OPERATIONS[self.service].get(name)
        if operation is None:
            raise AttributeError(f"a Wire has no {name!r}")

        def call(**request: Any) -> dict[str, Any]:
            return self._call(operation, request)

        call.__name__ = name
        return call

    def scan_in_pieces(self, **request: Any) -> Page:
        """Scan. The answer is received whole; a long one is parsed when it is iterated.

        What is wrong with one only then is a FearlessError; everything else is as in a call.
        """

        def read(connection: Connection, answer: Answer) -> Page:
            if len(answer.body) < 2 * PIECE or not answer.body.endswith(b"}"):
                return Whole(_parsed(connection, answer))
            metadata = {"ResponseMetadata": _metadata(answer.status, answer.headers)}
            body = bytes(answer.body)
            return Pieces(body, metadata, lambda why: explain(connection.garbled(why), "reading"))

        return self._exchange("Scan", request, read)

    def guarded(self, guard: Callable[[], None] | None) -> Wire:
        """The same client, with another guard; connections and clock are shared."""
        other = copy.copy(self)
        other._guard = guard
        return other

    def clock(self) -> float:
        """The service's time in Unix seconds, late by a second and a round trip at most.

        Before the first answer it is this machine's.
        """
        return self._time.now()

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens new ones."""
        self._connections.close()

    def _call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        return self._exchange(operation, request, _parsed)

    def _exchange(
        self, operation: str, request: dict[str, Any], read: Callable[[Connection, Answer], Read]
    ) -> Read:
        """Send, receive, and `read` an answer that is none of an error."""
        body = _encoded(operation, request)
        frozen = self._credentials.get_frozen_credentials()
        connection = self._connections.take()
        try:
            head = self._signer.head(
                f"{PREFIXES[self.service]}.{operation}",
                body,
                frozen,
                self._wall(),
                self._connections.prefix,
                self._connections.proxy_headers(),
            )
            if self._guard is not None:
                self._guard()
            sent = self._ticks()
            connection.send(head + body)
            answer = connection.receive()
            _check_sum(connection, answer)
            refused = _document(connection, answer) if answer.status >= 300 else None
            result = read(connection, answer) if refused is None else None
        except BaseException:
            connection.close()
            raise
        self._connections.give(connection)
        self._time.hear(answer.headers.get("date"), sent, self._ticks())
        if result is None:
            raise _refusal(operation, answer, refused or {})
        return result


def _parsed(connection: Connection, answer: Answer) -> dict[str, Any]:
    document = _document(connection, answer)
    document["ResponseMetadata"] = _metadata(answer.status, answer.headers)
    return document


def _check_sum(connection: Connection, answer: Answer) -> None:
    checksum = answer.headers.get("x-amz-crc32")
    if checksum is not None and checksum != str(zlib.crc32(answer.body)):
        raise connection.garbled("its checksum is wrong")


def _document(connection: Connection, answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer that is what was sent.

    A 4xx that is not JSON comes from something in between, which did not pass the request on; a
    5xx may come from a proxy that did.
    """
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict):
        return document
    if 300 <= answer.status < 500:
        return {}
    raise connection.garbled(f"status {answer.status}, and not a JSON object")


def _refusal(operation: str, answer: Answer, document: dict[str, Any]) -> ClientError:
    named = document.pop("__type", None) or answer.headers.get("x-amzn-errortype")
    code = str(named or answer.status).rpartition("#")[2].partition(":")[0]
    message = str(document.get("message") or document.get("Message") or "")
    return _error(operation, code, message, _metadata(answer.status, answer.headers), document)


def _error(
    operation: str, code: str, message: str, metadata: dict[str, Any], more: dict[str, Any]
) -> ClientError:
    response: Any = {
        **more,
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": metadata,
    }
    return ClientError(response, operation)


def _metadata(status: int, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "RequestId": headers.get("x-amzn-requestid", ""),
        "HTTPStatusCode": status,
        "HTTPHeaders": headers,
        "RetryAttempts": 0,
    }


def _encoded(operation: str, request: dict[str, Any]) -> bytes:
    """The request as JSON; what no JSON can say is refused as the service would refuse it."""
    try:
        return orjson.dumps(request, default=_plain)
    except TypeError as error:
        raise _error(
            operation, "ValidationException", f"not sent: {error}", _metadata(400, {}), {}
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return list(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError("the URL of a DynamoDB endpoint must be http(s)://host[:port]")
    if parts.path not in ("", "/") or parts.query:
        raise ConfigError(f"the DynamoDB endpoint at {parts.hostname} must have no path")
    return f"{parts.scheme}://{parts.netloc}"


def _host(endpoint: str) -> str:
    """As the Host header has it: without a port that goes without saying."""
    parts = urlsplit(endpoint)
    usual = {"http": 80, "https": 443}[parts.scheme]
    return parts.netloc.rpartition(":")[0] if parts.port == usual else parts.netloc


def _version() -> str:
    try:
        return version("fearless")
    except PackageNotFoundError:
        return "0"
