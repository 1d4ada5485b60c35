"""Fence by stopping the application: no instance, no writer. The only fence that is certain."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import explain
from fearless.data.fences import Memory
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Report

SIZES = ("MinSize", "MaxSize", "DesiredCapacity")


class StopFence:
    """Sets auto-scaling groups to 0, and back. It does not lift itself.

    The sizes are remembered before anything is changed. `timeout` is how many seconds the
    instances may take to go.
    """

    timed = False

    def __init__(
        self,
        autoscaling: Any,
        groups: Sequence[str],
        memory: Memory,
        timeout: float = 600.0,
        poll: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._autoscaling = autoscaling
        self._groups = tuple(groups)
        self._memory = memory
        self._timeout = timeout
        self._poll = poll
        self._clock = clock
        self._sleep = sleep

    def fence(self, attempt: int, seconds: float | None) -> None:
        """Remember the sizes and set them to 0."""
        for group in self._described():
            name = group["AutoScalingGroupName"]
            row = self._memory.load(f"stop {name}")
            if row is not None and int(row["attempt"]) > attempt:
                continue
            if row is None or not row["stopped"]:
                sizes = {size: int(group[size]) for size in SIZES}
                self._memory.save(f"stop {name}", {**sizes, "stopped": True, "attempt": attempt})
            elif int(row["attempt"]) < attempt:
                self._memory.save(f"stop {name}", {**row, "attempt": attempt})
            self._resize(name, dict.fromkeys(SIZES, 0))

    def unfence(self, attempt: int) -> None:
        """Give each group the sizes it had, unless a later attempt has stopped it."""
        for name in self._groups:
            row = self._memory.load(f"stop {name}")
            if row is None or not row["stopped"] or int(row["attempt"]) > attempt:
                continue
            self._resize(name, {size: int(row[size]) for size in SIZES})
            self._memory.save(f"stop {name}", {**row, "stopped": False})

    def confirm(self, report: Report) -> str:
        """Wait until no instance is left."""
        deadline = self._clock() + self._timeout
        while left := sum(len(group["Instances"]) for group in self._described()):
            if self._clock() > deadline:
                raise FearlessError(
                    f"{left} instances of {', '.join(self._groups)} are still there after "
                    f"{self._timeout:.0f} s: nothing was switched"
                )
            report.progress("stopping the application", 0, None, f"{left} instances left")
            self._sleep(self._poll)
        if not self.fenced():
            raise FearlessError(
                f"somebody else resized {', '.join(self._groups)}: nothing was switched"
            )
        return f"no instance is left in {', '.join(self._groups)}"

    def fenced(self) -> bool:
        """Whether all groups are, and stay, empty."""
        return all(
            not group["Instances"] and not any(int(group[size]) for size in SIZES)
            for group in self._described()
        )

    def _described(self) -> list[Any]:
        try:
            answer = self._autoscaling.describe_auto_scaling_groups(
                AutoScalingGroupNames=list(self._groups)
            )
        except ClientError as error:
            raise explain(error, "reading auto-scaling groups") from error
        found = {group["AutoScalingGroupName"]: group for group in answer["AutoScalingGroups"]}
        if missing := [name for name in self._groups if name not in found]:
            raise Refused(f"there is no auto-scaling group {', '.join(missing)}")
        return [found[name] for name in self._groups]

    def _resize(self, name: str, sizes: dict[str, int]) -> None:
        try:
            self._autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, **sizes)
        except ClientError as error:
            raise explain(error, f"resizing auto-scaling group {name}") from error
