"""A DynamoDB that costs next to nothing: canned reads, and writes counted but not looked at.

What it does not know (DescribeTable, the stream's shards, the emptiness of the target) it asks
the emulator. `python -m benchmarks.stub` with its settings as JSON; prints its port when ready,
and what it served when SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
import zlib
from email.utils import formatdate
from typing import Any

from benchmarks.canned import WINDOW, Pages, Records

DONE = b'{"UnprocessedItems":{}}'


class Desk:
    """Answers requests by name; counts what it served."""

    def __init__(self, emulator: str, items: int, records: int) -> None:
        self._emulator = emulator
        self._pages = Pages(items)
        self._records = Records(records, int(time.time()))
        self.served = {"read": 0, "written": 0, "records": 0, "forwarded": 0}

    def answer(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        """The status and the body for one request."""
        name = _header(head, b"x-amz-target").rpartition(b".")[2]
        if name == b"BatchWriteItem":
            self.served["written"] += body.count(b'Request":')
            return 200, DONE
        if name in (b"Scan", b"GetRecords", b"GetShardIterator"):
            known = getattr(self, f"_{name.decode()}")(json.loads(body))
            if known is not None:
                return 200, known
        return self._forward(head, body)

    def _Scan(self, request: dict[str, Any]) -> bytes | None:  # noqa: N802 - its name at AWS
        if "Segment" not in request:
            return None
        start = Pages.position(request.get("ExclusiveStartKey"))
        segment, total = request["Segment"], request["TotalSegments"]
        page = self._pages.scan(segment, total, start, request.get("Limit"))
        self.served["read"] += int(page[9 : page.index(b",")])
        return page

    def _GetShardIterator(self, request: dict[str, Any]) -> bytes | None:  # noqa: N802
        if not self._records.count:
            return None
        sequence = request.get("SequenceNumber")
        position = Records.after(sequence) if sequence else 0
        return b'{"ShardIterator":"%b"}' % Records.iterator(position)

    def _GetRecords(self, request: dict[str, Any]) -> bytes | None:  # noqa: N802
        kind, _, position = request["ShardIterator"].partition(":")
        if kind != "canned":
            return None
        answer = self._records.read(int(position), request.get("Limit", WINDOW))
        self.served["records"] += answer.count(b'"eventID"')
        return answer

    def _forward(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        self.served["forwarded"] += 1
        lines = [line.partition(b":") for line in head.split(b"\r\n")[1:] if line]
        headers = {name.decode().lower(): value.strip().decode() for name, _, value in lines}
        for name in ("connection", "content-length", "accept-encoding"):
            headers.pop(name, None)
        request = urllib.request.Request(self._emulator, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def _header(head: bytes, name: bytes) -> bytes:
    lowered = head.lower()
    start = lowered.find(b"\r\n%b:" % name)
    if start < 0:
        return b""
    start += len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


class Connection(asyncio.Protocol):
    """One connection of a client, kept open between requests."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._buffer = bytearray()
        self._need = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Small answers leave at once."""
        self._transport: Any = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while len(self._buffer) >= self._need:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[: end + 2])
            self._need = end + 4 + int(_header(head, b"content-length") or 0)
            if len(self._buffer) < self._need:
                return
            body = bytes(self._buffer[end + 4 : self._need])
            del self._buffer[: self._need]
            self._need = 0
            self._reply(*self._desk.answer(head, body))

    def _reply(self, status: int, body: bytes) -> None:
        head = (
            f"HTTP/1.1 {status} {'OK' if status == 200 else 'Bad Request'}\r\n"
            "Server: Server\r\n"
            f"Date: {formatdate(usegmt=True)}\r\n"
            "Content-Type: application/x-amz-json-1.0\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: keep-alive\r\n"
            "x-amzn-RequestId: 0000000000000000000000000000000000000000000000000000\r\n"
            f"x-amz-crc32: {zlib.crc32(body)}\r\n\r\n"
        )
        self._transport.writelines((head.encode(), body))


async def serve(desk: Desk, port: int) -> None:
    """Serve on loopback until SIGTERM; several processes may share the port."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(
        lambda: Connection(desk), "127.0.0.1", port, reuse_port=True, backlog=256
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await ended.wait()
    server.close()
    sys.stdout.write(json.dumps({"pid": os.getpid(), **desk.served}) + "\n")


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    asyncio.run(
        serve(Desk(settings["emulator"], settings["items"], settings["records"]), settings["port"])
    )
