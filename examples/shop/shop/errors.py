"""What the shop answers when it cannot do what was asked."""

from __future__ import annotations


class ShopError(Exception):
    """An answer other than success; `status` is the HTTP status."""

    status = 500
    retry_after: int | None = None


class Invalid(ShopError):
    """The request is not one the shop understands."""

    status = 400


class NotFound(ShopError):
    """There is no such store, product or order."""

    status = 404


class Busy(ShopError):
    """The database could not answer now; the same request may be sent again."""

    status = 503
    retry_after = 1


class WritesPaused(Busy):
    """The database refuses our writes: another stack is going live, or we are not live yet."""

    def __init__(self) -> None:
        super().__init__("writes are paused")
