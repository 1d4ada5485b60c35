"""One HTTP connection, which tells a request that was not sent from one that was not answered.

One write and a strict reading of the answer: http.client's parsing takes as much CPU as all the
rest of a batch write.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)

LONGEST_HEAD = 64 * 1024
LONGEST_BODY = 64 * 1024 * 1024


class Garbled(HTTPClientError):
    """An answer came that cannot be believed: the request may have been done or not."""

    fmt = "Unusable answer from {endpoint_url}: {error}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the names of headers are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes | bytearray


class Connection:
    """One that is open. After any exception it must be closed."""

    def __init__(self, sock: Any, url: str, seconds: float, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._url = url
        self._seconds = seconds
        self._clock = clock
        self._buffer = b""
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._sock.settimeout(seconds)
        self.reusable = True
        self.since = 0.0

    @property
    def stale(self) -> bool:
        """Whether the server closed it, or said something unasked."""
        return bool(self._poll.poll(0))

    def send(self, data: bytes) -> None:
        """Send a request, in so many seconds in all.

        Raises EndpointConnectionError when a part of it never left, so that it was not done.
        """
        deadline = self._clock() + self._seconds
        try:
            sent = self._sock.send(data)
            if sent < len(data):
                self._send_rest(memoryview(data)[sent:], deadline)
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=self._url, error=error) from error

    def _send_rest(self, view: memoryview, deadline: float) -> None:
        while view:
            left = deadline - self._clock()
            if left <= 0:
                raise TimeoutError("the request took too long to send")
            self._sock.settimeout(left)
            view = view[self._sock.send(view) :]
        self._sock.settimeout(self._seconds)

    def receive(self) -> Answer:
        """The answer, no part of which may take longer than so many seconds.

        Raises ReadTimeoutError, ConnectionClosedError or Garbled: the request may be done or not.
        """
        try:
            status, headers = self._head()
            while 100 <= status < 200:
                status, headers = self._head()
            if headers.get("transfer-encoding", "").lower() == "chunked":
                body: bytes | bytearray = self._chunks()
            else:
                body = self._exactly(int(headers["content-length"]))
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
        except OSError as error:
            raise ConnectionClosedError(endpoint_url=self._url, error=error) from error
        except (KeyError, ValueError, IndexError) as error:
            raise self.garbled(f"not HTTP ({type(error).__name__} {error})") from error
        if self._buffer or headers.get("connection", "").lower() == "close":
            self.reusable = False
        return Answer(status, headers, body)

    def garbled(self, error: str) -> Garbled:
        """The exception for an answer with that mistake."""
        return Garbled(endpoint_url=self._url, error=error)

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _head(self) -> tuple[int, dict[str, str]]:
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status = first.split(" ", 2)[:2]
        if version != "HTTP/1.1":
            if version != "HTTP/1.0":
                raise ValueError("no status line")
            self.reusable = False
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(status), headers

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            parts.append(bytes(self._exactly(size)))
            if self._exactly(2) != b"\r\n":
                raise ValueError("a chunk of another length")
        while self._until(b"\r\n"):
            pass
        return b"".join(parts)

    def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > LONGEST_HEAD:
                raise ValueError("endless headers")
            self._buffer += self._some()
        found, self._buffer = self._buffer[:end], self._buffer[end + len(mark) :]
        return found

    def _some(self) -> bytes:
        data: bytes = self._sock.recv(LONGEST_HEAD)
        if not data:
            raise ConnectionResetError("closed by the server")
        return data

    def _exactly(self, count: int) -> bytes | bytearray:
        if not 0 <= count <= LONGEST_BODY:
            raise ValueError(f"a body of {count} bytes")
        there = len(self._buffer)
        if there >= count:
            body, self._buffer = self._buffer[:count], self._buffer[count:]
            return body
        rest = bytearray(count)
        rest[:there] = self._buffer
        self._buffer = b""
        view = memoryview(rest)[there:]
        while view:
            received = self._sock.recv_into(view)
            if not received:
                raise ConnectionResetError("closed by the server")
            view = view[received:]
        return rest
