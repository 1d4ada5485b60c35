"""Passes on a file's lines while somebody else still writes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

EVERY = 0.2


class Tail:
    """In a `with` block, `emit` gets each line of `file` soon after it was written."""

    def __init__(self, file: Path, emit: Callable[[str], None]) -> None:
        self._file = file
        self._emit = emit
        self._position = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        """Begin."""
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Pass on the rest, and end."""
        self._end.set()
        self._thread.join()
        self._read(last=True)

    def _follow(self) -> None:
        while not self._end.wait(EVERY):
            self._read(last=False)

    def _read(self, *, last: bool) -> None:
        try:
            with self._file.open("rb") as file:
                file.seek(self._position)
                text = file.read()
        except FileNotFoundError:
            return
        if not last:
            text = text[: text.rfind(b"\n") + 1]
        self._position += len(text)
        for line in text.decode(errors="replace").splitlines():
            self._emit(line)
