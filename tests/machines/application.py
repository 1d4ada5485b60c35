"""The container image of a small application, made without any engine."""

from __future__ import annotations

import platform
from pathlib import Path

from fearless import layer, oci
from fearless.interfaces import Image, Release
from fearless.testing import base_image
from tests import images

SERVER = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["FEARLESS_SHA"].encode()
        self.send_response(%d)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

print("listening", flush=True)
address = os.environ["HOST"], int(os.environ["PORT"])
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""


def image(directory: Path, release: Release, status: int = 200) -> Image:
    """An image of the release that answers everything with that status and its own SHA."""
    directory.mkdir(parents=True)
    layout = oci.Layout.create(directory / "layout")
    blobs = []
    for members in (
        base_image.members(),
        {"app/server.py": images.text(SERVER % status)},
    ):
        file = directory / "layer.tar"
        layer.write(file, members)
        with file.open("rb") as stream:
            blobs.append(layout.put_stream(stream, oci.LAYER))
        file.unlink()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/bin"], "Cmd": ["python3", "-u", "/app/server.py"]},
        "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in blobs]},
    }
    manifest = layout.put_image(oci.canonical(config), tuple(blobs))
    layout.tag(release.sha, manifest)
    image_id = layout.manifest(manifest.digest).config.digest
    return Image(release.app, release.sha, manifest.digest, image_id, f"oci:{layout.root}")
