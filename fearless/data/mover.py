"""What a cutover asks of whatever moves the data; `engine.Migration` is one."""

from __future__ import annotations

from typing import Protocol

from fearless.interfaces import DataState, Verdict


class Mover(Protocol):
    """What moves the data, from the side that is live to the other one."""

    @property
    def verified(self) -> bool:
        """Whether everything was proven equal lately, and what changed since is known."""

    def state(self) -> DataState:
        """How far it is."""

    def follow(self) -> DataState:
        """Apply what changed until caught up."""

    def drain(self) -> DataState:
        """With the live side fenced: apply every change, proven by sentinels."""

    def verify(self, still: bool = False) -> Verdict:
        """Compare; with both sides `still` and `verified`, only what changed since."""

    def turn(self) -> None:
        """With both sides still: fix the position from which the way back starts."""

    def forget_turn(self, why: str) -> None:
        """There is no way back after all."""
