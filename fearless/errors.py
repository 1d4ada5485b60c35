"""The errors Fearless explains to a person: one line, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FearlessError(Exception):
    """Something failed for a reason the user can act on.

    The message is one line: what is wrong, where, and what to do. `prefix` starts the
    line a person sees; `exit_code` is what the `fearless` command exits with.
    """

    prefix = "error"
    exit_code = 1

    def __str__(self) -> str:
        return f"{self.prefix}: {super().__str__()}"


class ConfigError(FearlessError):
    """release.toml, a plugin, a variable or an argument is not valid."""

    exit_code = 2


class Refused(FearlessError):
    """A guard did not allow the action; nothing was changed."""

    prefix = "refused"
    exit_code = 3


class NotAuthorised(FearlessError):
    """The cloud did not accept who we are, or did not let us do it."""

    prefix = "not authorised"
    exit_code = 4


class GateFailed(FearlessError):
    """A gate looked at the candidate and said no. Raised by `Gate.check`."""


class BootFailed(FearlessError):
    """A machine image was started, and its application did not answer."""


def suggest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the closest of `known`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def explain(error: Exception) -> FearlessError | None:
    """The error to show a person: itself if it is ours, AWS's answer in one line, else None.

    None means a defect of Fearless or of a plugin: that one deserves its traceback.
    """
    if isinstance(error, FearlessError):
        return error
    if not type(error).__module__.startswith("botocore"):
        return None
    answer = getattr(error, "response", {}).get("Error", {})
    code = str(answer.get("Code", ""))
    text = " ".join(str(error).split())
    if code.startswith("AccessDenied") or code in _WHO or "Credentials" in type(error).__name__:
        return NotAuthorised(text)
    return FearlessError(text)


_WHO = frozenset(
    (
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "ExpiredToken",
        "ExpiredTokenException",
    )
)
