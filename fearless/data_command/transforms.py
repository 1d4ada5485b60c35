"""The transforms in one Python file, for `fearless data --transforms FILE` and its workers."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from fearless import source
from fearless.errors import ConfigError, suggest
from fearless.interfaces import Transform

LOADER = "fearless.data_command.transforms:load"
"""What a worker calls, with the same arguments."""


def load(file: str = "") -> Sequence[Transform]:
    """The transforms of a plugin file: what `transforms()` returns, or the list `TRANSFORMS`.

    None for no file. Raises ConfigError, naming the file and the line, when it has none.
    """
    if not file:
        return ()
    path = Path(file)
    module = _imported(path)
    found = _answer(module, path)
    if not found:
        raise ConfigError(f"{path}: there is no transform in it")
    names = [transform.name for transform in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path}: two transforms are named {twice[0]!r}")
    return found


def check_tables(transforms: Sequence[Transform], tables: Sequence[str], file: str) -> None:
    """Raise unless each of the tables, as transforms call them, has a transform in the file."""
    known = sorted({table for transform in transforms for table in transform.tables})
    for table in tables:
        if transforms and table not in known:
            raise ConfigError(
                f"{file}: no transform is for a table named {table!r}{suggest(table, known)}: "
                f"its transforms are for {', '.join(known)}; say which of them it is with --table"
            )


def _imported(path: Path) -> ModuleType:
    name = f"fearless_transforms_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if not path.is_file():
        raise ConfigError(f"--transforms {path}: there is no such file")
    if path.suffix != ".py":
        raise ConfigError(f"--transforms {path}: not a Python file")
    try:
        return source.load(path, name)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path} cannot be imported: {_cause(error, path)}") from error


def _answer(module: ModuleType, path: Path) -> tuple[Transform, ...]:
    function = getattr(module, "transforms", None)
    answer: Any = getattr(module, "TRANSFORMS", None)
    what = "TRANSFORMS"
    if function is not None:
        what = "transforms()"
        try:
            answer = list(function()) if callable(function) else function
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{path}: transforms() failed: {_cause(error, path)}") from error
    elif answer is None:
        raise ConfigError(f"{path}: it has neither a function transforms() nor a list TRANSFORMS")
    if not isinstance(answer, list | tuple):
        raise ConfigError(f"{path}: {what} must be a list of Transform, not {_kind(answer)}")
    for member in answer:
        if not isinstance(member, Transform):
            raise ConfigError(f"{path}: {what} must be a list of Transform, one is {_kind(member)}")
    return tuple(answer)


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" if value is not None else "None"


def _cause(error: BaseException, path: Path) -> str:
    """One line: the exception, and the last line of the file that it came through."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f" ({path}:{lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
