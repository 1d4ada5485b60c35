"""Other people's copiers from PyPI, in a virtual environment of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("dynamodump", "aiodynamo", "httpx")
PROGRAMS = {"dynamodump": "dump", "aiodynamo copier": "async_client"}


def install(directory: Path) -> str:
    """Make the environment in `directory` unless it is there; its Python."""
    python = directory / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PACKAGES], check=True, timeout=600, stdout=sys.stderr)
    return str(python)


@contextlib.contextmanager
def installed(directory: str, wanted: bool) -> Iterator[str]:
    """The Python of an environment that holds the peers; empty when they are not `wanted`."""
    if not wanted:
        yield ""
    elif directory:
        yield install(Path(directory))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield install(Path(temporary) / "peers")


def versions(python: str) -> dict[str, str]:
    """Which versions of the peers are compared."""
    if not python:
        return {}
    answer = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = (line.partition("==") for line in answer.stdout.splitlines())
    return {name: version for name, _, version in pairs if name in (*PACKAGES, "boto3", "botocore")}
