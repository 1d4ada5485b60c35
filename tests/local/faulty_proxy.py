"""A reverse proxy that can be told to treat some requests badly, as a bad deployment would."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Respond = Callable[["Exchange"], "tuple[int, dict[str, str], bytes] | None"]


@dataclass
class Exchange:
    """One request on its way. `forward()` passes it on; None as the answer cuts the connection."""

    number: int
    method: str
    path: str
    body: bytes
    port: int
    hang_up: bool = field(default=False)

    def forward(
        self, method: str | None = None, path: str | None = None, body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send it, or another request instead of it, to the real app."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(
                method or self.method,
                path or self.path,
                self.body if body is None else body,
                {"Content-Type": "application/json", "Connection": "close"},
            )
            response = connection.getresponse()
            kept = ("Content-Type", "Retry-After", "X-Release")
            headers = {n: v for n, v in response.getheaders() if n in kept}
            return response.status, headers, response.read()
        finally:
            connection.close()


@contextmanager
def proxy(app: str, respond: Respond) -> Iterator[str]:
    """The URL of a proxy to the app at `app`; `respond` answers each request."""
    numbers = iter(range(1_000_000))
    port = int(app.rpartition(":")[2])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            exchange = Exchange(next(numbers), self.command, self.path, body, port)
            answer = respond(exchange)
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
            self.close_connection = self.close_connection or exchange.hang_up

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
