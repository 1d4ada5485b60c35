"""Bundles: an image's files run as a plain process that answers HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fearless import http, layer, oci
from fearless.errors import FearlessError
from fearless.local import python
from fearless.local.builder import LocalBuilder
from fearless.local.bundle import Bundle, bundle, environment, resolve, unpack
from fearless.oci import CorruptImage, Layout
from fearless.testing.emulator import free_port
from fearless.testing.fakes import SilentReport
from tests import images

SERVER = """
import http.server, json, os, signal, sys
import greeter

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"said": greeter.hello(), "cwd": os.getcwd(), "prefix": sys.prefix,
                           "path": sys.path, "env": dict(os.environ)}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

def main():
    server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()
"""
GREETER = images.wheel(
    "greeter",
    {"greeter.py": "def hello():\n    return 'hello'\n", "served.py": SERVER},
    {"serve": "served:main"},
)
DOCKERFILE = f"""
FROM python:{images.VERSION}-slim
WORKDIR /app
COPY greeter-1.0-py3-none-any.whl requirements.txt ./
RUN pip install --no-index -r requirements.txt
COPY . .
"""


def build(tmp_path: Path, report: SilentReport, *lines: str, **files: str) -> tuple[Path, str]:
    content: dict[str, str | bytes] = {
        "Dockerfile": DOCKERFILE + "\n".join(lines),
        "requirements.txt": "./greeter-1.0-py3-none-any.whl\n",
        "greeter-1.0-py3-none-any.whl": GREETER,
        "shop/__main__.py": "import served; served.main()\n",
        **files,
    }
    context = images.context(tmp_path / "context", content)
    project = images.FakeProject(tmp_path / "project")
    image = LocalBuilder(project).build(images.release(), context, report)  # type: ignore[arg-type]
    return Path(image.source.removeprefix("oci:")), image.digest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def answer(found: Bundle) -> dict[str, object]:
    """Start it, ask it, stop it as a container would be stopped."""
    port = free_port()
    process = subprocess.Popen(found.argv, cwd=found.cwd, env=found.env | {"PORT": str(port)})
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                status, body = http.get(f"http://127.0.0.1:{port}/", timeout=5)
                break
            except OSError:
                assert process.poll() is None, "the app died"
                assert time.monotonic() < deadline, "the app does not answer"
                time.sleep(0.02)
        assert status == 200
        process.send_signal(found.stop_signal)
        assert process.wait(10) == 0
        return dict(json.loads(body))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ('CMD ["python", "-m", "shop"]', {}),
        ('CMD ["python3", "/app/shop/__main__.py"]', {}),
        (f'ENTRYPOINT ["/usr/local/bin/python{images.VERSION}"]\nCMD ["-m", "shop"]', {}),
        ('CMD ["serve"]', {}),
        ('CMD ["/usr/local/bin/serve"]', {}),
        ("CMD exec serve", {}),
        ('CMD exec python -c "import served; served.main()"', {}),
        ('CMD ["./start"]', {"start": "#!/bin/sh\nset -e\nexec python -m shop\n"}),
        ('CMD ["/app/start"]', {"start": "#!/usr/bin/env python\nimport served\nserved.main()\n"}),
    ],
)
def test_an_image_runs_as_a_process_that_answers(
    tmp_path: Path, report: SilentReport, line: str, files: dict[str, str]
) -> None:
    layout, digest = build(tmp_path, report, line, **files)
    found = unpack(layout, digest, tmp_path / "rootfs")
    said = answer(found)
    assert said["said"] == "hello"
    assert said["cwd"] == str(found.root / "app") == str(found.cwd)


def test_the_process_sees_the_images_packages_and_no_others(
    tmp_path: Path, report: SilentReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the operator's")
    layout, digest = build(tmp_path, report, 'ENV MINE=1\nCMD ["python", "-m", "shop"]')
    found = unpack(layout, digest, tmp_path / "rootfs")
    said = answer(found)
    assert said["prefix"] == str(found.root / "usr/local")
    packages = [entry for entry in said["path"] if "-packages" in entry]  # type: ignore[attr-defined]
    assert packages == [f"{found.root}/usr/local/lib/python{images.VERSION}/site-packages"]
    env = said["env"]
    assert isinstance(env, dict)
    assert env["MINE"] == "1"
    assert env["HOME"] == str(found.root)
    assert "AWS_SECRET_ACCESS_KEY" not in env


def test_running_changes_no_file(tmp_path: Path, report: SilentReport) -> None:
    layout, digest = build(tmp_path, report, 'CMD ["serve"]', **{"x.py": ""})
    found = unpack(layout, digest, tmp_path / "rootfs")

    def listing() -> set[tuple[str, int]]:
        return {(str(p), p.lstat().st_mtime_ns) for p in found.root.rglob("*")}

    before = listing()
    answer(found)
    assert listing() == before
    assert list((tmp_path / "rootfs/.bytecode").rglob("*.pyc"))


def test_unpacking_twice_is_unpacking_once(tmp_path: Path, report: SilentReport) -> None:
    layout, digest = build(tmp_path, report, 'CMD ["serve"]')
    first = unpack(layout, digest, tmp_path / "rootfs")
    inode = first.root.stat().st_ino
    assert unpack(layout, digest, tmp_path / "rootfs") == first
    assert first.root.stat().st_ino == inode
    assert first.root.name == digest.removeprefix("sha256:")


def test_many_at_once_unpack_one(tmp_path: Path, report: SilentReport) -> None:
    layout, digest = build(tmp_path, report, 'CMD ["serve"]')
    found: list[Bundle] = []
    threads = [
        threading.Thread(target=lambda: found.append(unpack(layout, digest, tmp_path / "rootfs")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(str, found))) == 1
    assert not list((tmp_path / "rootfs").glob(".unpack-*"))


def test_a_moved_project_is_unpacked_again(tmp_path: Path, report: SilentReport) -> None:
    layout, digest = build(tmp_path, report, 'CMD ["serve"]')
    unpack(layout, digest, tmp_path / "rootfs")
    (tmp_path / "rootfs").rename(tmp_path / "moved")
    assert answer(unpack(layout, digest, tmp_path / "moved"))["said"] == "hello"


def test_a_path_with_spaces(tmp_path: Path, report: SilentReport) -> None:
    layout, digest = build(tmp_path, report, 'CMD ["serve"]')
    found = unpack(layout, digest, tmp_path / ("a long way down " * 8) / "rootfs")
    assert answer(found)["said"] == "hello"


def test_a_killed_unpacking_leaves_no_bundle(tmp_path: Path, report: SilentReport) -> None:
    layout, digest = build(tmp_path, report, 'CMD ["serve"]')
    code = (
        "import os, signal, sys; from pathlib import Path; from fearless import layer\n"
        "from fearless.local import bundle\n"
        "layer.apply = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "bundle.unpack(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))\n"
    )
    arguments = [str(layout), digest, str(tmp_path / "rootfs")]
    killed = subprocess.run([sys.executable, "-c", code, *arguments], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "rootfs" / oci.hex_of(digest)).exists()
    assert answer(unpack(layout, digest, tmp_path / "rootfs"))["said"] == "hello"
    assert not list((tmp_path / "rootfs").glob(".unpack-*"))


def test_damaged_bytes_are_refused(tmp_path: Path, report: SilentReport) -> None:
    layout, digest = build(tmp_path, report, 'CMD ["serve"]')
    blob = Layout(layout).manifest(digest).layers[1].digest
    path = Layout(layout).path(blob)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptImage, match=path.name):
        unpack(layout, digest, tmp_path / "rootfs")
    assert [p.name for p in (tmp_path / "rootfs").iterdir()] == [".lock"]


def test_an_image_of_another_python_is_refused(tmp_path: Path) -> None:
    file = "usr/local/lib/python3.1/site-packages/x.py"
    tar = images.tarball(tmp_path / "l.tar", {file: images.text("")})
    layout = Layout.create(tmp_path / "layout")
    image = images.image(layout, tar, Cmd=["python"])
    with pytest.raises(FearlessError, match=r"for Python 3.1 and this machine runs"):
        unpack(layout.root, image.digest, tmp_path / "rootfs")


def test_the_images_own_virtual_environment_works(tmp_path: Path) -> None:
    site = f"opt/venv/lib/python{images.VERSION}/site-packages"
    members = {
        "opt/venv/pyvenv.cfg": images.text("home = /usr/local/bin\n"),
        "opt/venv/bin/python": layer.Member(0o777, link="/usr/local/bin/python3"),
        "opt/venv/bin/show": images.text("#!/opt/venv/bin/python\nimport mine\n", 0o755),
        f"{site}/mine.py": images.text("print('mine')\n"),
    }
    layout = Layout.create(tmp_path / "layout")
    tar = images.tarball(tmp_path / "l.tar", members)
    path = "PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"
    for command in (["show"], ["python", "-c", "import mine"]):
        image = images.image(layout, tar, Env=[path], Cmd=command)
        found = unpack(layout.root, image.digest, tmp_path / "rootfs")
        done = subprocess.run(
            found.argv, env=found.env, cwd=found.cwd, capture_output=True, text=True, check=True
        )
        assert done.stdout == "mine\n"


def test_variables_with_container_paths(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("app/lib", "usr/local/bin"):
        (root / name).mkdir(parents=True)
    declared = {
        "PATH": "/app/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": "/app:/app/lib",
        "CONFIG": "/app/lib",
        "ELSEWHERE": "/not/in/the/image",
        "URL": "http://example.org/app",
        "ROOT": "/",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    env = environment(declared, root)
    assert env["PATH"] == f"{root}/app/bin:{root}/usr/local/bin:/usr/bin:/bin"
    assert env["PYTHONPATH"] == f"{root}/app:{root}/app/lib"
    assert env["CONFIG"] == f"{root}/app/lib"
    assert {key: env[key] for key in ("ELSEWHERE", "URL", "ROOT")} == {
        "ELSEWHERE": "/not/in/the/image",
        "URL": "http://example.org/app",
        "ROOT": "/",
    }
    assert "PYTHONDONTWRITEBYTECODE" not in env
    assert env["PYTHONPYCACHEPREFIX"] == str(tmp_path / ".bytecode/root")


def test_a_program_only_a_container_can_run(tmp_path: Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/nginx").write_bytes(b"\x7fELF")
    for program in ("nginx", "/usr/sbin/nginx", "/usr/bin/python3", "./nothing"):
        with pytest.raises(FearlessError, match=f"the image's command '{program}' is not"):
            resolve([program], tmp_path, tmp_path, f"{tmp_path}/usr/sbin")


def test_arguments_with_container_paths(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    words = ["sh", "/app", "--dir=/app", "--dir=/none", "/", "-x"]
    found = resolve(words, tmp_path, tmp_path, "")
    assert found[1:] == (f"{tmp_path}/app", f"--dir={tmp_path}/app", "--dir=/none", "/", "-x")


def test_an_image_without_a_command(tmp_path: Path) -> None:
    with pytest.raises(FearlessError, match="names no command"):
        bundle({"config": {}}, tmp_path)


@pytest.mark.parametrize(("name", "number"), [("SIGINT", 2), ("TERM", 15), ("9", 9), (None, 15)])
def test_stop_signals(tmp_path: Path, name: str | None, number: int) -> None:
    assert bundle({"config": {"Cmd": ["sh"], "StopSignal": name}}, tmp_path).stop_signal == number


SCRIPTS = [
    (b"#!/usr/local/bin/python3.11\nx", True),
    (b"#!/opt/my-python/bin/python -sE\nx", True),
    (b"#!/bin/sh\n'''exec' /long/python3.11 \"$0\" \"$@\"\n' '''\nx", True),
    (b"#!/bin/sh\n'''exec' \"/sp ace/python3\" \"$0\" \"$@\"\n' '''\nx", True),
    (b"#!/usr/bin/env python3\nx", False),
    (b"#!/bin/sh\npython\n", False),
    (b"\x7fELF", False),
]


@pytest.mark.parametrize(("script", "is_python"), SCRIPTS)
@pytest.mark.parametrize("target", ["/x/python", "/x y/python", "/" + "x" * 200 + "/python"])
def test_scripts_get_another_interpreter(script: bytes, is_python: bool, target: str) -> None:
    changed = python.with_interpreter(script, target)
    if not is_python:
        assert changed is None
        return
    assert changed is not None
    assert changed.endswith(b"\nx")
    assert target.encode() in changed
    assert len(changed.splitlines()[0]) < 127
    assert python.with_interpreter(changed, target) == changed


def test_the_interpreter_is_outside_virtual_environments() -> None:
    code = "import sys; print(sys.prefix == sys.base_prefix)"
    env = {"PATH": os.defpath}
    done = subprocess.run([python.interpreter(), "-c", code], env=env, capture_output=True)
    assert done.stdout.strip() == b"True"
