"""A Dockerfile as the local builder understands it: everything checked before anything is done."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fearless.dockerfile import (
    DockerfileError,
    Instruction,
    exec_form,
    expand,
    pairs,
    words,
)
from fearless.local import run
from fearless.local.python import VERSION
from fearless.local.steps import Copy, MakeDirectories, State, Step, cannot

DEFAULT_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = ("/bin/sh", "-c")

_BASE = re.compile(r"(?:.*/)?python:(\d+\.\d+)(?:[.-][\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+")
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@dataclass(frozen=True)
class Entry:
    """An instruction and what it does to files, if anything; a layer is made of each step."""

    instruction: Instruction
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What to build: the base image's name, entries in order, and the container configuration."""

    base: str
    entries: tuple[Entry, ...]
    config: Mapping[str, Any]


def read(
    instructions: Iterable[Instruction],
    name: str = "Dockerfile",
    arguments: Mapping[str, str] | None = None,
) -> Recipe:
    """Understand a Dockerfile, or raise DockerfileError naming the line that cannot be built here.

    `arguments` are values for ARG; `name` is what errors call the file.
    """
    base_env = {"PATH": DEFAULT_PATH, "LANG": "C.UTF-8", "PYTHON_VERSION": VERSION}
    state = State(name, base_env, {}, arguments or {})
    state.config = {"Cmd": ["python3"]}
    base = ""
    entries = []
    for instruction in instructions:
        if instruction.keyword == "FROM":
            if base:
                raise cannot(state, instruction, "it builds one stage only")
            base = _base(state, instruction)
            continue
        try:
            steps = _HANDLERS[instruction.keyword](state, instruction)
        except ValueError as error:
            raise DockerfileError(f"{name}:{instruction.line}: {error}") from None
        if base:
            entries.append(Entry(instruction, tuple(steps)))
    state.config["Env"] = [f"{key}={value}" for key, value in state.env.items()]
    state.config["WorkingDir"] = state.workdir
    return Recipe(base, tuple(entries), state.config)


# -------------------------------------------------------------------- one per instruction


def _base(state: State, instruction: Instruction) -> str:
    image = words(instruction.text, state.variables)[0]
    state.arguments = {}
    match = _BASE.fullmatch(image)
    if not match:
        raise cannot(state, instruction, f"its base must be a python:{VERSION} image, not {image}")
    return image


def _arg(state: State, instruction: Instruction) -> list[Step]:
    for word in words(instruction.text, state.variables):
        key, equals, default = word.partition("=")
        value = state.given.get(key, default if equals else None)
        if value is not None:
            state.arguments[key] = value
    return []


def _env(state: State, instruction: Instruction) -> list[Step]:
    state.env.update(pairs(instruction.text, state.variables))
    return []


def _label(state: State, instruction: Instruction) -> list[Step]:
    labels = dict(pairs(instruction.text, state.variables))
    state.config["Labels"] = state.config.get("Labels", {}) | labels
    return []


def _workdir(state: State, instruction: Instruction) -> list[Step]:
    path = state.path(expand(instruction.text, state.variables))
    state.workdir = path.rstrip("/") or "/"
    return [MakeDirectories((state.workdir,))] if state.workdir != "/" else []


def _copy(state: State, instruction: Instruction) -> list[Step]:
    if instruction.heredoc:
        raise cannot(state, instruction, "it reads no here-documents")
    mode = None
    for flag, value in instruction.flags:
        if flag == "chmod" and re.fullmatch(r"0?[0-7]{3,4}", value):
            mode = int(value, 8)
        elif flag not in ("chown", "link"):
            raise cannot(state, instruction, f"it does not know --{flag}={value}")
    parts = words(instruction.text, state.variables)
    if instruction.form:
        parts = [expand(part, state.variables) for part in instruction.form]
    if len(parts) < 2:
        raise ValueError(f"{instruction.keyword} needs a source and a destination")
    *sources, destination = parts
    if instruction.keyword == "ADD":
        for source in sources:
            if "://" in source or source.startswith("git@"):
                raise cannot(state, instruction, "it downloads nothing")
            if re.search(r"\.(tar|tgz|tbz2|txz)$|\.tar\.\w+$", source):
                raise cannot(state, instruction, "it unpacks no archives")
    target = state.path(destination)
    if len(sources) > 1 and not target.endswith("/"):
        raise ValueError(f"{destination!r} must end with / when there are several sources")
    return [Copy(tuple(sources), target, mode)]


def _expose(state: State, instruction: Instruction) -> list[Step]:
    ports = {}
    for word in words(instruction.text, state.variables):
        if not re.fullmatch(r"\d+(-\d+)?(/(tcp|udp|sctp))?", word):
            raise ValueError(f"EXPOSE {word}: not a port")
        ports[word if "/" in word else f"{word}/tcp"] = dict[str, str]()
    state.config["ExposedPorts"] = state.config.get("ExposedPorts", {}) | ports
    return []


def _volume(state: State, instruction: Instruction) -> list[Step]:
    paths = instruction.form or words(instruction.text, state.variables)
    volumes = {path: dict[str, str]() for path in paths}
    state.config["Volumes"] = state.config.get("Volumes", {}) | volumes
    return []


def _user(state: State, instruction: Instruction) -> list[Step]:
    state.config["User"] = expand(instruction.text, state.variables)
    return []


def _stopsignal(state: State, instruction: Instruction) -> list[Step]:
    state.config["StopSignal"] = expand(instruction.text, state.variables)
    stop_signal(state.config["StopSignal"])
    return []


def stop_signal(name: str) -> int:
    """The number of a signal as images name them: `SIGTERM`, `TERM` or `15`."""
    if name.isdigit():
        return int(name)
    try:
        return signal.Signals["SIG" + name.upper().removeprefix("SIG")].value
    except KeyError:
        raise ValueError(f"{name!r} is not a signal of this machine") from None


def _cmd(state: State, instruction: Instruction) -> list[Step]:
    state.config["Cmd"] = list(instruction.form or (*SHELL, instruction.text))
    return []


def _entrypoint(state: State, instruction: Instruction) -> list[Step]:
    state.config["Entrypoint"] = list(instruction.form or (*SHELL, instruction.text))
    state.config.pop("Cmd", None)
    return []


def _healthcheck(state: State, instruction: Instruction) -> list[Step]:
    if instruction.text.upper() == "NONE":
        state.config["Healthcheck"] = {"Test": ["NONE"]}
        return []
    head, _, rest = instruction.text.partition(" ")
    if head.upper() != "CMD" or not rest.strip():
        raise ValueError("HEALTHCHECK needs CMD and a command, or NONE")
    form = exec_form(rest.strip())
    check: dict[str, Any] = {"Test": ["CMD", *form] if form else ["CMD-SHELL", rest.strip()]}
    names = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    for flag, value in instruction.flags:
        if flag in names:
            check[names[flag]] = _nanoseconds(value)
        elif flag == "retries" and value.isdigit():
            check["Retries"] = int(value)
        else:
            raise ValueError(f"HEALTHCHECK has no option --{flag}={value}")
    state.config["Healthcheck"] = check
    return []


def _nanoseconds(text: str) -> int:
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 5s or 1m30s")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", text)
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _unsupported(state: State, instruction: Instruction) -> list[Step]:
    raise cannot(state, instruction, f"it has no {instruction.keyword}")


_HANDLERS: dict[str, Callable[[State, Instruction], list[Step]]] = {
    "ADD": _copy,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _unsupported,
    "ONBUILD": _unsupported,
    "RUN": run.read,
    "SHELL": _unsupported,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
