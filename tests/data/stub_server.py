"""A server on loopback that answers each request as a test says, byte for byte."""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Script = Callable[[Any, "Request"], "bytes | None"]


@dataclass
class Request:
    """One that arrived; `number` counts them from 0, over all connections."""

    line: str
    headers: dict[str, str]
    body: bytes
    number: int


@dataclass
class Stub:
    """Answers with what `script(socket, request)` gives; None closes the connection."""

    url: str
    requests: list[Request] = field(default_factory=list)
    connections: list[Any] = field(default_factory=list)

    def hang_up(self) -> None:
        """Close every connection from the server's side."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP answer of that body, with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def checked(body: bytes) -> bytes:
    """As DynamoDB answers: with a checksum and the time."""
    return answer(body, x_amz_crc32=str(zlib.crc32(body)), Date="Tue, 24 Nov 2026 03:00:00 GMT")


@contextmanager
def serving(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Stub]:
    """Serve in threads until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        stub = Stub(f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}")
        thread = threading.Thread(target=_accept, args=(listener, script, stub, tls), daemon=True)
        thread.start()
        yield stub
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    stub.hang_up()


def _accept(listener: Any, script: Script, stub: Stub, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(
                target=_converse, args=(connection, script, stub, tls), daemon=True
            ).start()


def _converse(connection: Any, script: Script, stub: Stub, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError, UnicodeDecodeError):
        if tls is not None:
            connection = tls.wrap_socket(connection, server_side=True)
        stub.connections.append(connection)
        reader = connection.makefile("rb")
        while line := reader.readline().decode().strip():
            headers = {}
            while header := reader.readline().decode().strip():
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            body = reader.read(int(headers.get("content-length", 0)))
            request = Request(line, headers, body, len(stub.requests))
            stub.requests.append(request)
            said = script(connection, request)
            if said is None:
                break
            connection.sendall(said)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
