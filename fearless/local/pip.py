"""`pip install` into an image: this machine's pip fills a directory that has no packages yet."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fearless import layer, oci
from fearless.errors import FearlessError
from fearless.interfaces import Report
from fearless.local import python
from fearless.local.steps import Pip

_FILE_OPTIONS = ("-r", "--requirement", "-c", "--constraint")
_DROPPED = ("--no-cache-dir", "--break-system-packages")
_NAMED = re.compile(
    r"[A-Za-z0-9][\w.-]*(\[[\w,. -]*\])?\s*([=<>!~;].*|@\s*(https?|git\+https)://.*)?"
)


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where layers are kept for every project of this user."""
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".cache"
    return Path(base) / "fearless"


def install(step: Pip, root: Path, below: Sequence[str], log: Path, report: Report) -> Path:
    """The layer file of one `pip install`, from the shared cache when it was made before.

    `root` is the image's file system so far, made of the layers `below` (their digests).
    `root` is changed only when pip runs: the caller applies the layer either way.
    """
    directory = cache_directory(os.environ) / "layers" / _key(step, root, below)
    for cached in directory.glob("*.tar"):
        if oci.digest_of_file(cached) == f"sha256:{cached.stem}":
            report.line(f"pip install {' '.join(step.arguments)}: unchanged, from the cache")
            return cached
        cached.unlink()
    before = _snapshot(root)
    _run(step, root, log, report)
    _normalise(root)
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{os.getpid()}.partial"
    layer.write(partial, _difference(root, before))
    return partial.rename(directory / f"{oci.hex_of(oci.digest_of_file(partial))}.tar")


# ------------------------------------------------------------------------------ running


def command(step: Pip, root: Path, executable: str) -> list[str]:
    """The pip command line: for the image's Python, absolute paths led into `root`."""
    options = ["--no-input", "--no-compile", "--disable-pip-version-check"]
    quiet = ["--no-warn-script-location", "--root-user-action=ignore", "--progress-bar=off"]
    target = str(root / python.PREFIX / "bin" / "python")
    arguments = [_inside(root, word) for word in step.arguments if word not in _DROPPED]
    return [executable, "-m", "pip", "--python", target, "install", *options, *quiet, *arguments]


def _run(step: Pip, root: Path, log: Path, report: Report) -> None:
    cwd = layer.resolve(root, step.cwd)
    cwd.mkdir(parents=True, exist_ok=True)
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    env = {key: value for key, value in os.environ.items() if key not in dropped}
    env |= {key: _inside(root, step.env[key]) for key in step.env if key.startswith("PIP_")}
    env |= {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "315532800", "PIP_NO_CACHE_DIR": "0"}
    shown = f"pip install {' '.join(step.arguments)}"
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: list[str] = []
    done = 0
    with (
        log.open("a") as file,
        subprocess.Popen(
            command(step, root, _pip_python()),
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            tail = [*tail[-20:], line.strip()]
            done += line.startswith(("Collecting ", "Processing "))
            report.progress(shown, done, None, line.strip())
    if process.returncode:
        errors = [line for line in tail if line.startswith("ERROR:")] or tail[-1:] or ["no output"]
        raise FearlessError(f"{shown} failed: {errors[-1]} (its output is in {log})")
    report.line(f"{shown}: {next((t for t in reversed(tail) if t.startswith('Succ')), 'done')}")


def _pip_python() -> str:
    for candidate in (sys.executable, str(python.interpreter())):
        probe = subprocess.run(
            [candidate, "-m", "pip", "--version"], capture_output=True, check=False
        )
        if probe.returncode == 0:
            return candidate
    raise FearlessError(
        f"the local builder needs pip for {sys.executable}: run `{sys.executable} -m ensurepip`, "
        "or install your system's python3-pip"
    )


def _inside(root: Path, word: str) -> str:
    """An argument with an absolute container path, as the path of the same file in `root`."""
    option, equals, path = word.rpartition("=") if word.startswith("--") else ("", "", word)
    inside = layer.resolve(root, path) if path.startswith("/") else None
    return f"{option}{equals}{inside}" if inside and inside.exists() else word


# ---------------------------------------------------------------------------- cache key


def _key(step: Pip, root: Path, below: Sequence[str]) -> str:
    """A hash of all that decides what pip installs, an index that changes aside.

    Arguments and requirement files that name packages of an index are hashed by content;
    as soon as one of them names a local file, every layer below counts too.
    """
    texts, local = [], False
    options = {k: v for k, v in (os.environ | dict(step.env)).items() if k.startswith("PIP_")}
    local |= any(key.startswith("PIP_") and "/" in value for key, value in step.env.items())
    plain, files = _split(step.arguments)
    local |= any(not word.startswith("-") and not _NAMED.fullmatch(word) for word in plain)
    local |= any(word.startswith(("-f", "--find-links")) for word in plain)
    cwd = layer.resolve(root, step.cwd)
    pending = [cwd / _inside(root, name) for name in files]
    seen: set[Path] = set()
    while pending:
        path = pending.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        text = path.read_text(errors="replace")
        texts.append(text)
        for line in _lines(text):
            words = line.split()
            if words[0].startswith("-"):
                pending += [path.parent / name for name in _split(words)[1]]
                local |= words[0].split("=")[0] in ("-f", "--find-links", "-e", "--editable")
            else:
                local |= not _NAMED.fullmatch(re.split(r"\s--", line)[0].strip())
    identity = {
        "python": [platform.python_version(), sysconfig.get_platform()],
        "arguments": list(step.arguments),
        "options": dict(sorted(options.items())),
        "files": texts,
        "below": list(below) if local else [],
    }
    return oci.hex_of(oci.digest_of(oci.canonical(identity)))


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments that are not requirement or constraint files, and those that are."""
    plain, files = [], []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name in _FILE_OPTIONS:
            files.append(value if equals else next(words, ""))
        elif word[:2] in ("-r", "-c") and not word.startswith("--"):
            files.append(word[2:])
        else:
            plain.append(word)
    return plain, files


def _lines(text: str) -> Iterator[str]:
    """A requirement file's lines: comments gone, continuation lines joined."""
    for line in text.replace("\\\n", " ").splitlines():
        bare = re.sub(r"(^|\s)#.*$", "", line).strip()
        if bare:
            yield bare


# ---------------------------------------------------------------- equal files, equal bytes


def _snapshot(root: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        changed = 0 if path.is_dir() and not path.is_symlink() else status.st_ctime_ns
        found[str(path.relative_to(root))] = (status.st_ino, status.st_mode, changed)
    return found


def _difference(root: Path, before: Mapping[str, object]) -> dict[str, layer.Member]:
    after = _snapshot(root)
    members = {
        name: layer.on_disk(root / name) for name in after if after[name] != before.get(name)
    }
    for name in before.keys() - after.keys():
        path = Path(name)
        if str(path.parent) in after:
            members[str(path.with_name(layer.WHITEOUT + path.name))] = layer.Member(0o644, bytes)
    return members


def _normalise(root: Path) -> None:
    """Undo what depends on this machine: where `root` is, the umask, byte code."""
    prefix = root / python.PREFIX
    for cache in list(prefix.rglob("__pycache__")):
        shutil.rmtree(cache)
    for script in (prefix / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        shared = python.with_interpreter(
            script.read_bytes(), f"/{python.PREFIX}/bin/python{python.VERSION}"
        )
        if shared is not None and shared != script.read_bytes():
            script.write_bytes(shared)
    for origin in prefix.rglob("*.dist-info/direct_url.json"):
        text = origin.read_text()
        if str(root) in text:
            origin.write_text(text.replace(str(root), ""))
    for record in prefix.rglob("*.dist-info/RECORD"):
        _refresh(record)
    for path in prefix.rglob("*"):
        if not path.is_symlink():
            mode = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
            if path.stat().st_mode & 0o7777 != mode:
                path.chmod(mode)


def _refresh(record: Path) -> None:
    """Make a RECORD tell the hashes its files have now."""
    text = record.read_text()
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        _row(record.parent.parent, row) for row in csv.reader(io.StringIO(text))
    )
    if out.getvalue() != text:
        record.write_text(out.getvalue())


def _row(site: Path, row: list[str]) -> Iterable[str]:
    path = site / row[0]
    if len(row) < 3 or not row[1] or not path.is_file():
        return row
    data = path.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return [row[0], f"sha256={digest}", str(len(data))]
