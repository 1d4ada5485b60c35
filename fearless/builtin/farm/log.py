"""A build's log, in numbered rows beside its status: readable as it comes, from any machine."""

from __future__ import annotations

import threading
from collections import deque

from fearless.builtin.farm.status import Builds

CHUNK = 24_000
"""Characters of a row at most; DynamoDB takes 400 kB, and a small row is cheap to follow."""
LIMIT = 1_000_000
"""Characters kept of one attempt; of what is longer, the beginning and the end."""
TAIL = 60
"""Lines kept of the end."""
LINE = 2000


def _key(id: str) -> str:
    return f"LOG#{id}"


class LogWriter:
    """Writes lines of one attempt; `flush` from any thread."""

    def __init__(self, builds: Builds, id: str, attempt: str) -> None:
        self._builds = builds
        self._id = id
        self._attempt = attempt
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._lines: list[str] = []
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._skipped = 0
        self._size = 0
        self._number = 0

    def add(self, text: str) -> None:
        """Another line, or several; what is not printable is left out."""
        for line in text.splitlines():
            shown = "".join(c if c.isprintable() else " " for c in line)[:LINE]
            with self._lock:
                if self._size + len(shown) > LIMIT:
                    self._skipped += len(self._tail) == TAIL
                    self._tail.append(shown)
                else:
                    self._lines.append(shown)
                    self._size += len(shown) + 1

    def flush(self) -> None:
        """Write what has come since the last time."""
        with self._writing:
            with self._lock:
                lines, self._lines = self._lines, []
            while lines:
                chunk: list[str] = []
                size = 0
                while lines and (not chunk or size + len(lines[0]) < CHUNK):
                    size += len(lines[0]) + 1
                    chunk.append(lines.pop(0))
                try:
                    self._write(chunk)
                except BaseException:
                    with self._lock:
                        self._lines = [*chunk, *lines, *self._lines]
                    raise

    def close(self) -> None:
        """Write the rest, with the end of a log that was too long."""
        with self._lock:
            if self._tail:
                self._lines += [f"... {self._skipped} lines are left out here ...", *self._tail]
                self._tail.clear()
        self.flush()

    def _write(self, lines: list[str]) -> None:
        sk = f"{self._attempt}#{self._number + 1:06}"
        row = self._builds.row(_key(self._id), sk, {"sk": sk, "lines": lines})
        self._builds.client.put_item(
            TableName=self._builds.table, Item=row | self._builds.expires()
        )
        self._number += 1


class LogReader:
    """Reads a build's log, and goes on where it was. Attempts follow each other."""

    def __init__(self, builds: Builds, id: str) -> None:
        self._builds = builds
        self._id = id
        self._after = ""

    def lines(self) -> list[str]:
        """What has come since the last time."""
        rows = self._builds.all(_key(self._id), self._after)
        if rows:
            self._after = rows[-1]["sk"]
        return [line for row in rows for line in row["lines"]]
