"""A base image like `python:3.X-slim`, made of this machine's own Python: nothing is downloaded.

Equal machines give equal bytes, so the image's id is the same each time and the engine's build
cache survives. It holds Python with pip, a shell and a few commands, and the wheels given.
"""

from __future__ import annotations

import importlib.util
import io
import platform
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fearless import docker_archive, layer, oci
from fearless.errors import FearlessError
from fearless.layer import Member

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
NAME = f"python:{VERSION}-slim"
SMALL = "shell:1"
LIBRARY = f"usr/local/lib/python{VERSION}"
PACKAGES = f"{LIBRARY}/site-packages"
COMMANDS = ("cat", "chmod", "chown", "cp", "env", "id", "ls", "mkdir", "rm", "sleep", "true")

_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "__pycache__"}
_LEFT_OUT |= {"site-packages", "dist-packages", "lib2to3", "pydoc_data"}
_LINKED = re.compile(r"(?:=>\s+|^\s*)(/\S+)", re.MULTILINE)
_PIP = f"""#!/usr/local/bin/python{VERSION}
from pip._internal.cli.main import main
raise SystemExit(main())
"""
_ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/app:/bin/sh\n"


def write(archive: Path, wheels: Iterable[Path] = ()) -> None:
    """Write the image as a `docker load` file, named `NAME`, with `wheels` installed."""
    _write(archive, NAME, members(wheels))


def write_small(archive: Path) -> None:
    """Write an image named `SMALL` that has the shell and the commands, and no Python."""
    programs = {f"bin/{name}": Path(shutil.which(name) or f"/bin/{name}") for name in COMMANDS}
    programs["bin/sh"] = Path("/bin/sh").resolve()
    found = {name: Member(0o755) for name in ("dev", "etc", "proc", "sys", "tmp")}
    found |= {name: _file(path) for name, path in programs.items()}
    found |= {name: _file(path) for name, path in _shared_libraries(programs.values())}
    _write(archive, SMALL, found)


def _write(archive: Path, name: str, files: Mapping[str, Member]) -> None:
    with tempfile.TemporaryDirectory() as work:
        layout = oci.Layout.create(Path(work) / "layout")
        file = Path(work) / "layer.tar"
        layer.write(file, files)
        with file.open("rb") as stream:
            blob = layout.put_stream(stream, oci.LAYER)
        path = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        config = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Env": [f"PATH={path}", "LANG=C.UTF-8"], "Cmd": ["python3"]},
            "rootfs": {"type": "layers", "diff_ids": [blob.digest]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "fearless"}],
        }
        manifest = layout.put_image(oci.canonical(config), (blob,))
        docker_archive.write(layout, manifest.digest, archive, (name,))


def members(wheels: Iterable[Path] = ()) -> dict[str, Member]:
    """Every file of the image, by path."""
    found = {name: Member(0o755) for name in ("app", "dev", "etc", "proc", "sys", "var")}
    found |= {"tmp": Member(0o1777), "root": Member(0o700), PACKAGES: Member(0o755)}
    found["etc/passwd"] = _text(_ACCOUNTS)
    found["etc/group"] = _text("root:x:0:\napp:x:1000:\n")
    found["etc/nsswitch.conf"] = _text("hosts: files dns\n")
    programs = dict(_python())
    for command in COMMANDS:
        programs[f"bin/{command}"] = Path(shutil.which(command) or f"/bin/{command}")
    programs["bin/sh"] = Path("/bin/sh").resolve()
    found |= {name: _file(path) for name, path in programs.items()}
    found |= {
        f"usr/local/bin/{name}": Member(0o777, link=f"python{VERSION}")
        for name in ("python", "python3")
    }
    if any(path.endswith("dist-packages") for path in site.getsitepackages([sys.base_prefix])):
        found[f"{LIBRARY}/dist-packages"] = Member(0o777, link="site-packages")
    found |= {name: _file(path) for name, path in _pip()}
    found["usr/local/bin/pip"] = Member(0o755, _PIP.encode)
    for wheel in wheels:
        found |= dict(_wheel(wheel))
    return found | {name: _file(path) for name, path in _shared_libraries(programs.values())}


def _python() -> Iterator[tuple[str, Path]]:
    yield f"usr/local/bin/python{VERSION}", Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))
    for path in standard.rglob("*"):
        name = path.relative_to(standard)
        skipped = _LEFT_OUT.intersection(name.parts) or name.parts[0].startswith("config-")
        if path.is_file() and not skipped and path.suffix not in (".pyc", ".a"):
            yield f"{LIBRARY}/{name}", path


def _pip() -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec("pip")
    if spec is None or spec.origin is None:
        raise FearlessError("the base image needs pip: `python -m ensurepip` installs it")
    package = Path(spec.origin).parent
    for directory in (package, *package.parent.glob("pip-*.dist-info")):
        for path in directory.rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                yield f"{PACKAGES}/{path.relative_to(package.parent)}", path


def _wheel(path: Path) -> Iterator[tuple[str, Member]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not name.endswith("/"):
                yield f"{PACKAGES}/{name}", Member(0o644, io.BytesIO(archive.read(name)).getvalue)


def _shared_libraries(programs: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """What the programs load. A library outside the system's folders (a Python below
    somebody's home) goes where the loader looks, and where any user may read it."""
    binaries = [str(path) for path in programs if _is_binary(path)]
    listed = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    libraries = {Path(match) for match in _LINKED.findall(listed) if not match.endswith(":")}
    system = next(path.parent for path in libraries if path.name.startswith("libc.so"))
    for path in sorted(libraries):
        inside = path if path.parts[1] in ("lib", "lib64", "usr") else system / path.name
        yield str(inside).lstrip("/"), path


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _file(path: Path) -> Member:
    real = path.resolve()
    return Member(0o755 if real.stat().st_mode & 0o100 else 0o644, real.read_bytes)


def _text(text: str) -> Member:
    return Member(0o644, text.encode)
