"""The application of these tests: answers who it is, over the standard library only."""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "@version@"
MODE = "@mode@"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(1.0)
        about = {
            "version": VERSION,
            "instance": os.environ["FEARLESS_INSTANCE"],
            "pid": os.getpid(),
            "env": {k: v for k, v in os.environ.items() if k.startswith(("AWS", "FEARLESS"))},
            "headers": dict(self.headers),
        }
        data = json.dumps(about).encode()
        self.send_response(500 if MODE == "sick" else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128


def main():
    print(f"version {VERSION} starts", flush=True)
    if MODE == "crash":
        sys.exit("no database to be found")
    host = "0.0.0.0" if MODE == "exposed" else os.environ["HOST"]
    server = Server((host, int(os.environ["PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()
    print("stopped gracefully", flush=True)


if __name__ == "__main__":
    main()
