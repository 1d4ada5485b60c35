"""`fearless init` from the built wheel, in a fresh repository with any small containerised app."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from .checkout import HERE, Installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

APP = '''
"""Answers hello."""
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"hello from " + os.environ["FEARLESS_SHA"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "5000")))
ThreadingHTTPServer(address, Hello).serve_forever()
'''

DOCKERFILE = """FROM python:3.11-slim
WORKDIR /srv
COPY hello.py .
EXPOSE 5000
CMD ["python", "hello.py"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel of this checkout; its bin folder."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(HERE)],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("fearless-*.whl")
    venv.create(folder / "venv", with_pip=True)
    bin_folder = folder / "venv" / "bin"
    subprocess.run(
        [str(bin_folder / "pip"), "install", "-q", "--no-compile", f"{wheel}[local]"],
        check=True,
        capture_output=True,
    )
    return bin_folder


class Hello(Installed):
    """A repository with only an app in it, worked on with the installed wheel."""

    def __init__(self, root: Path, bin_folder: Path) -> None:
        super().__init__(root, bin_folder, parts=())
        (root / "hello.py").write_text(APP)
        (root / "Dockerfile").write_text(DOCKERFILE)
        self.commit("Say hello")


@pytest.fixture(scope="module")
def hello(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hello]:
    checkout = Hello(tmp_path_factory.mktemp("init") / "hello-world", installed)
    yield checkout
    checkout.close()


def test_init_writes_the_scaffold_and_nothing_twice(hello: Hello) -> None:
    run = hello.run("fearless", "init").ok()
    assert "hello-world (port 5000, health /)" in run.out
    for name in ("dodo.py", "release.toml", "plugins/transforms.py", "plugins/smoke.py"):
        assert (hello.root / name).is_file(), name
    assert (hello.root / "templates" / "stack.yaml.j2").is_file()
    assert (hello.root / "packer" / "ami.pkr.hcl").is_file()
    assert (hello.root / "packer" / "machine" / "run").is_file()
    assert (hello.root / "dodo.py").read_bytes() == (HERE / "dodo.py").read_bytes()
    toml = (hello.root / "release.toml").read_text()
    assert 'name = "hello-world"' in toml
    assert "shop" not in toml
    (hello.root / "release.toml").write_text(toml + "# mine\n")
    again = hello.run("fearless", "init")
    assert again.code == 3
    assert "already exist; init never overwrites" in again.err
    assert (hello.root / "release.toml").read_text().endswith("# mine\n")
    hello.commit("Add the release procedure")


def test_it_is_ready_to_release(hello: Hello) -> None:
    listed = hello.doit("list").ok().out
    assert listed.index("tag") < listed.index("cutover") < listed.index("retire")
    hello.doit("release").ok()
    sha = hello.git("rev-parse", "HEAD")
    live = hello.doit("status", "json=1").ok().json["live"]
    assert live["sha"] == sha
    with urllib.request.urlopen(live["url"]) as answer:
        assert answer.read().decode() == f"hello from {sha}"
    assert json.loads(hello.doit("release", "json=1").ok().out)["made"] == []


def test_where_init_refuses(tmp_path: Path, installed: Path) -> None:
    def init(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(installed / "fearless"), "init", str(folder)], capture_output=True, text=True
        )

    outside = init(tmp_path)
    assert outside.returncode == 2
    assert "run `git init` first" in outside.stderr
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    empty = init(tmp_path)
    assert empty.returncode == 2
    assert "there is no Dockerfile" in empty.stderr
