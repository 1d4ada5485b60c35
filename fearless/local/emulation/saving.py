"""Save the state in seconds: `fearless local stop` waits for it, and so does whoever runs tests.

MiniStack copies every item before it saves, and encodes JSON piece by piece in Python. Nobody is
served any more while it saves, so nothing need be copied; and `json.dumps` encodes in C.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import IO, Any


def install() -> None:
    """Replace what MiniStack encodes with, and what it copies items with for saving."""
    from ministack.core import persistence
    from ministack.services import dynamodb

    save = dynamodb.get_state

    def get_state() -> Any:
        copying = dynamodb.copy
        dynamodb.copy = SimpleNamespace(deepcopy=lambda value: value)
        try:
            return save()
        finally:
            dynamodb.copy = copying

    persistence.json = SimpleNamespace(
        dump=dump, load=json.load, loads=json.loads, JSONDecodeError=json.JSONDecodeError
    )
    dynamodb.get_state = get_state


def dump(value: Any, file: IO[str], **options: Any) -> None:
    """As `json.dump`, all at once."""
    file.write(json.dumps(value, **options))
