"""doit's database, which nobody needs: the truth is in the world."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from doit.dependency import JsonDB


class Cache(JsonDB):  # type: ignore[misc]
    """doit's database as the cache it is: a spoilt one is empty, two runs never block each other.

    doit finds it by the entry point `doit.BACKEND`. Its own backends refuse a half-written file
    (json) or wait for the other run and fail (sqlite3).
    """

    desc = "a JSON file, replaced at once; lost without harm"

    def _load(self) -> Any:
        try:
            return self.codec.decode(Path(self.name).read_text())
        except (ValueError, OSError):
            return {}

    def dump(self) -> None:
        """Replace the file."""
        path = Path(self.name)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(self.codec.encode(self._db))
        partial.replace(path)
