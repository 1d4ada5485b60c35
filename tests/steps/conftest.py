"""A project of fakes with a real ledger and real HTTP: what the steps' own logic runs on."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fearless import names
from fearless.interfaces import Stack
from fearless.procedure import Procedure
from fearless.project import Project
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import (
    FakeBaker,
    FakeBuilder,
    FakeCloud,
    FakeDns,
    FakeProvisioner,
    FakeRegistry,
    FakeStore,
    SilentReport,
)

TOML = """
[app]
name = "{app}"
release = "/__release"
url = "{url}"
{tables}
[dns]
zone = "localhost"
name = "{app}.localhost"
[cutover]
replaces = "{replaces}"
budget = 20
timeout = 2
[retire]
keep = {keep}
soak = {soak}
"""


class World:
    """The fakes, and the procedures of several releases over them."""

    def __init__(self, root: Path, emulator: Emulator, url: str, app: str) -> None:
        self.root, self.app, self.url = root, app, url
        self.store, self.dns = FakeStore(), FakeDns()
        self.provisioner, self.baker = FakeProvisioner(["Orders"]), FakeBaker()
        self.registry, self.builder = FakeRegistry(), FakeBuilder()
        self.cloud = FakeCloud({"dynamodb": emulator.client("dynamodb")})
        self.report = SilentReport()
        self.settings(keep=1, soak=0)

    def settings(
        self,
        keep: int = 1,
        soak: float = 0,
        replaces: str = "",
        tables: str = '[tables.orders]\nhash = "id"',
    ) -> None:
        """Another release.toml, and the project with it."""
        given = {"keep": keep, "soak": soak, "replaces": replaces, "tables": tables}
        text = TOML.format(app=self.app, url=self.url, **given)
        (self.root / "release.toml").write_text(text)
        self.project = Project(self.root).using(
            cloud=self.cloud,
            data=self.store,
            dns=self.dns,
            stack=self.provisioner,
            ami=self.baker,
            registry=self.registry,
            container=self.builder,
        )

    def procedure(self, letter: str) -> Procedure:
        """The release of the SHA `letter * 40`."""
        release = names.release(self.app, letter * 40, "20260101")
        return Procedure(self.project, release, self.report, f"doit release sha={letter}")

    def stack(self, letter: str) -> Stack:
        """Its stack, made."""
        release = self.procedure(letter).release
        return self.provisioner.create(release, "", {}, self.report)


class _Edge(ThreadingHTTPServer):
    world: World
    answer: Callable[[], str]


@pytest.fixture
def world(tmp_path: Path, emulator: Emulator) -> Iterator[World]:
    """A world whose public name is answered by whatever stack DNS points at."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            target = server.world.dns.target or "nothing.elb"
            body = json.dumps({"stack": target.removesuffix(".elb.localhost")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = _Edge(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, env={**os.environ})
    app = "t" + uuid.uuid4().hex[:8]
    world = World(tmp_path, emulator, f"http://127.0.0.1:{server.server_port}", app)
    server.world = world
    yield world
    server.shutdown()
    server.server_close()
