"""An image's files unpacked, and how to run them here as a plain process, without containers."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fearless import layer, oci
from fearless.errors import FearlessError
from fearless.local import python
from fearless.local.recipe import DEFAULT_PATH, stop_signal

HOST_PATH = "/usr/bin:/bin"
"""Where a shell script of the image finds `sleep`, `cat` and so on: on this host."""

HOST_COMMANDS = ("sh", "bash", "env")
"""Commands of an image that this host's own stand in for."""

_SYSTEM = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_TEMPORARY = ".unpack-"
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


@dataclass(frozen=True)
class Bundle:
    """An image ready to run: `Popen(argv, cwd=cwd, env=env)`, and `stop_signal` to stop it.

    `root` is what `/` is in a container. Several processes share it and nothing changes it:
    byte code goes elsewhere. `env` is complete, nothing of this process's environment is
    meant to be added; the caller adds its own variables, such as PORT.
    """

    root: Path
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path
    stop_signal: int


def unpack(layout: Path, digest: str, rootfs: Path) -> Bundle:
    """Unpack the image of that manifest digest into `rootfs/<hex>`, unless it is there already.

    Raises CorruptImage when the image's bytes are not what the digest says, FearlessError
    when it cannot run as a plain process.
    """
    store = oci.Layout(layout)
    config = store.config(digest)
    rootfs = rootfs.resolve()
    root = rootfs / oci.hex_of(digest)
    with oci.locked(rootfs / ".lock"):
        if not _usable(root):
            _unpack(store, digest, root, config)
    return bundle(config, root)


def bundle(config: Mapping[str, Any], root: Path) -> Bundle:
    """How to run an image of that configuration, unpacked in `root`; touches no file."""
    settings: Mapping[str, Any] = config.get("config") or {}
    declared = dict(entry.split("=", 1) for entry in settings.get("Env") or () if "=" in entry)
    env = environment(declared, root)
    cwd = layer.resolve(root, settings.get("WorkingDir") or "/")
    words = [*(settings.get("Entrypoint") or ()), *(settings.get("Cmd") or ())]
    if not words:
        raise FearlessError("the image names no command: add CMD to its Dockerfile")
    signal_name = settings.get("StopSignal") or "SIGTERM"
    return Bundle(root, resolve(words, root, cwd, env["PATH"]), env, cwd, stop_signal(signal_name))


def environment(declared: Mapping[str, str], root: Path) -> dict[str, str]:
    """An image's variables for a process of this host.

    A value, or a part of a `:`-separated one, that is the absolute path of something in the
    image becomes the path of that file here. HOME is in the image: the user's own files, such
    as credentials, are not the app's.
    """
    env = {key: _paths(value, root) for key, value in declared.items()}
    env["PATH"] = search_path(declared.get("PATH", DEFAULT_PATH), root)
    env.setdefault("HOME", str(root))
    env.setdefault("LANG", "C.UTF-8")
    env.pop(_NO_BYTECODE, None)
    env["PYTHONNOUSERSITE"] = "1"
    env["PYTHONPYCACHEPREFIX"] = str(root.parent / ".bytecode" / root.name)
    return env


def search_path(declared: str, root: Path) -> str:
    """The image's PATH: its own directories first, this host's in place of the system's."""
    own = [part for part in declared.split(":") if part.startswith("/") and part not in _SYSTEM]
    return ":".join([*(str(root) + part for part in own), HOST_PATH])


def resolve(words: Sequence[str], root: Path, cwd: Path, path: str) -> tuple[str, ...]:
    """The command line for this host: its Python, its shell, and otherwise the image's scripts.

    Raises FearlessError for a program that is neither: only a container can run it.
    """
    program, *arguments = words
    rest = tuple(_argument(word, root) for word in arguments)
    name = program.rpartition("/")[2]
    if name in HOST_COMMANDS and (program == name or program.startswith(("/bin/", "/usr/bin/"))):
        found = shutil.which(name, path=HOST_PATH)
        if found:
            return (found, *rest)
    for candidate in _candidates(program, root, cwd, path):
        if candidate.is_file() and _runs_here(candidate):
            return (str(candidate), *rest)
    raise FearlessError(
        f"the image's command {program!r} is not a Python program or a script in the image, so "
        "it cannot run as a plain process: start a Docker engine, or use `python -m ...` as CMD"
    )


# ------------------------------------------------------------------------------ unpacking


def _usable(root: Path) -> bool:
    return python.environment_works(root / python.PREFIX)


def _unpack(store: oci.Layout, digest: str, root: Path, config: Mapping[str, Any]) -> None:
    """Holding the lock: what a killed process left half unpacked is removed first."""
    manifest = store.verify(digest)
    for left in root.parent.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(left)
    temporary = Path(tempfile.mkdtemp(dir=root.parent, prefix=_TEMPORARY))
    try:
        files = temporary / "root"
        files.mkdir()
        for blob in manifest.layers:
            layer.apply(store.path(blob.digest), files)
        _check_version(files)
        settings: Mapping[str, Any] = config.get("config") or {}
        layer.resolve(files, settings.get("WorkingDir") or "/").mkdir(parents=True, exist_ok=True)
        for prefix in _environments(files):
            _adapt(prefix, root / prefix.relative_to(files))
        if root.exists():
            root.rename(temporary / "previous")
        files.rename(root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_version(files: Path) -> None:
    """An image that brings packages for another Python would fail at its first import."""
    found = sorted(
        path.parent.name.removeprefix("python")
        for path in (files / python.PREFIX / "lib").glob("python3.*/site-packages")
    )
    if found and python.VERSION not in found:
        raise FearlessError(
            f"the image is for Python {found[-1]} and this machine runs {python.VERSION}: start a "
            f"Docker engine, or run Fearless with Python {found[-1]}"
        )


def _environments(files: Path) -> Iterable[Path]:
    """Where Python packages lie: /usr/local, and the image's own virtual environments."""
    inner = {
        path.parent
        for pattern in ("*", "*/*", "*/*/*")
        for path in files.glob(f"{pattern}/pyvenv.cfg")
    }
    return sorted({files / python.PREFIX} | inner)


def _adapt(prefix: Path, final: Path) -> None:
    """Start what is below `prefix` with this machine's Python, once it has moved to `final`."""
    python.make_environment(prefix, final)
    interpreter = str(final / "bin" / f"python{python.VERSION}")
    for script in (prefix / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        adapted = python.with_interpreter(script.read_bytes(), interpreter)
        if adapted is not None:
            script.write_bytes(adapted)


# ---------------------------------------------------------------------------- translation


def _candidates(program: str, root: Path, cwd: Path, path: str) -> Iterable[Path]:
    if program.startswith("/"):
        return [_here(program, root)]
    if "/" in program:
        return [cwd / program]
    return [
        Path(directory) / program
        for directory in path.split(":")
        if directory.startswith(str(root))
    ]


def _runs_here(path: Path) -> bool:
    if path.name in python.NAMES and (path.parent.parent / "pyvenv.cfg").is_file():
        return True
    with path.open("rb") as file:
        return file.read(2) == b"#!" and os.access(path, os.X_OK)


def _argument(word: str, root: Path) -> str:
    option = re.match(r"--[\w-]+=(?=/)", word)
    start = option[0] if option else ""
    return start + _paths(word[len(start) :], root)


def _paths(value: str, root: Path) -> str:
    parts = value.split(":")
    if not all(part.startswith("/") for part in parts if part):
        return value
    return ":".join(_existing(part, root) for part in parts)


def _existing(part: str, root: Path) -> str:
    here = _here(part, root) if part.strip("/") else None
    return str(here) if here and here.exists() else part


def _here(path: str, root: Path) -> Path:
    """Where an absolute path of the image is; its Python names keep leading to ours."""
    directory, _, name = path.rpartition("/")
    return layer.resolve(root, directory or "/") / name
