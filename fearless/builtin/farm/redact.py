"""Takes secrets out of what a build says, before it goes into rows that many people can read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HIDDEN = "…"
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_NAMED = re.compile(r"(SECRET|PASSWORD|PASSWD|TOKEN|PRIVATE_KEY|ACCESS_KEY|CREDENTIAL)", re.I)
_SHORTEST = 6


class Redactor:
    """`redact(text)` hides the secrets given, and who signs in in a URL."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {secret for secret in secrets if len(secret) >= _SHORTEST}
        ordered = sorted(found, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._secrets is not None:
            text = self._secrets.sub(HIDDEN, text)
        return _USERINFO.sub(f"{HIDDEN}@", text)


def of_environment(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that by their names are secrets."""
    return [value for name, value in environment.items() if _NAMED.search(name)]
