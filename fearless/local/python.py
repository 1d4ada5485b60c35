"""This machine's Python in the place of an image's own: what stands in for the base image."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

PREFIX = "usr/local"
"""Where python:3.X images keep Python and what pip installs, without the leading slash."""

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
NAMES = ("python", "python3", f"python{VERSION}")

_LONGEST_SHEBANG = 120
_SHEBANG = re.compile(rb"#![ \t]*\S*python[0-9.]*(?:[ \t]+(?P<options>\S.*?))?[ \t]*\n")
_LONG_SHEBANG = re.compile(
    rb"#!/bin/sh\n'''exec' \S.*?python[0-9.]*\"?(?: (?P<options>-.*?))? \"\$0\" \"\$@\"\n' '''\n"
)


def interpreter() -> Path:
    """The Python outside any virtual environment that this process runs on."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Path(base).absolute()


def make_environment(prefix: Path, final: Path | None = None) -> None:
    """Make `prefix` a virtual environment of this machine's Python, without pip.

    What runs in it sees the packages below `prefix` and no others, as in a container; so do
    the processes it starts. `final` is where the directory will be moved to.
    """
    home = interpreter()
    binaries = prefix / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (binaries / name).unlink(missing_ok=True)
        (binaries / name).symlink_to(home)
    lines = [
        f"home = {home.parent}",
        "include-system-site-packages = false",
        f"version = {'.'.join(map(str, sys.version_info[:3]))}",
        f"prefix = {final or prefix}",
    ]
    (prefix / "pyvenv.cfg").write_text("\n".join(lines) + "\n")


def environment_works(prefix: Path) -> bool:
    """True when `make_environment` made it for this place, and its Python is still there."""
    config = prefix / "pyvenv.cfg"
    if not config.is_file() or f"prefix = {prefix}" not in config.read_text().splitlines():
        return False
    return all(os.access(prefix / "bin" / name, os.X_OK) for name in NAMES)


def with_interpreter(script: bytes, python: str) -> bytes | None:
    """The script started by another interpreter; None when its first line names no Python."""
    match = _LONG_SHEBANG.match(script) or _SHEBANG.match(script)
    if not match:
        return None
    options = (match["options"] or b"").decode()
    return shebang(python, options) + script[match.end() :]


def shebang(python: str, options: str = "") -> bytes:
    """The first line that starts `python`, in the form kernels take when it is long or spaced."""
    line = f"{python} {options}".strip()
    if len(line) <= _LONGEST_SHEBANG and " " not in python:
        return f"#!{line}\n".encode()
    command = f'"{python}" {options}'.strip()
    return f"#!/bin/sh\n'''exec' {command} \"$0\" \"$@\"\n' '''\n".encode()
