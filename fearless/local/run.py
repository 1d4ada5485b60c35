"""RUN without a shell: the few commands the local builder carries out itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fearless.dockerfile import Instruction, Operator, command
from fearless.local.steps import MakeDirectories, Pip, SetMode, State, Step, cannot

NO_EFFECT = (
    *("true", ":", "set", "useradd", "adduser", "usermod", "groupadd", "addgroup", "chown"),
)
"""Commands of RUN that change nothing a plain process of this user would notice."""

_PIP = (("pip",), ("pip3",), ("python", "-m", "pip"), ("python3", "-m", "pip"))
_PIP_REFUSED = ("--user", "-t", "--target", "--prefix", "--root", "--python", "-e", "--editable")

_MODE = re.compile(r"0?[0-7]{3}|[au]?\+x")


def read(state: State, instruction: Instruction) -> list[Step]:
    """The steps of a RUN instruction; raises DockerfileError for what needs a shell."""
    if instruction.heredoc:
        raise cannot(state, instruction, "it reads no here-documents")
    for flag, value in instruction.flags:
        if flag != "mount" or not value.startswith("type=cache"):
            raise cannot(state, instruction, f"it does not know --{flag}={value}")
    found = list(instruction.form or command(instruction.text, state.variables))
    commands: list[list[str]] = [[]]
    for word in found:
        if isinstance(word, Operator) and word in ("&&", ";"):
            commands.append([])
        elif isinstance(word, Operator):
            raise cannot(state, instruction, f"it has no shell for `{word}`")
        else:
            commands[-1].append(word)
    return [step for words in commands if words for step in _simple(state, instruction, words)]


def _simple(state: State, instruction: Instruction, words: list[str]) -> list[Step]:
    env = dict(state.variables)
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        key, _, value = words.pop(0).partition("=")
        env[key] = value
    for start in _PIP:
        if tuple(words[: len(start) + 1]) == (*start, "install"):
            return [_pip(state, instruction, words[len(start) + 1 :], env)]
    options = [word for word in words[1:] if word.startswith("-")]
    names = [word for word in words[1:] if not word.startswith("-")]
    if not words or words[0] in NO_EFFECT:
        return []
    if words[0] == "mkdir" and set(options) <= {"-p", "--parents", "-v"}:
        return [MakeDirectories(tuple(state.path(name) for name in names))]
    if words[0] == "chmod" and not options and names[1:] and _MODE.fullmatch(names[0]):
        mode = None if names[0].endswith("x") else int(names[0], 8)
        return [SetMode(mode, tuple(state.path(name) for name in names[1:]))]
    raise cannot(
        state,
        instruction,
        f"of `{words[0]}` it knows nothing, only `pip install`, `mkdir -p`, `chmod MODE FILE` "
        f"and, without effect here, {', '.join(NO_EFFECT)}",
    )


def _pip(
    state: State, instruction: Instruction, arguments: list[str], env: Mapping[str, str]
) -> Pip:
    for word in arguments:
        if word.split("=")[0] in _PIP_REFUSED:
            raise cannot(state, instruction, f"it installs into /usr/local, without `{word}`")
    return Pip(tuple(arguments), state.workdir, env)
