"""Look at stacks with CloudFormation until they rest, telling what happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from fearless.builtin.aws import code, message, throttled
from fearless.builtin.stack_events import Event, describe, of_stack, since
from fearless.errors import FearlessError
from fearless.interfaces import Cloud, Report

LONGEST_PAUSE = 5.0
"""Seconds between two looks at something that takes its time."""


def stack_name(stack_id: str) -> str:
    """`arn:...:stack/<name>/<uuid>` -> `<name>`."""
    return stack_id.split("/")[1] if stack_id.startswith("arn:") else stack_id


class StackWatch:
    """Reads stacks and their events. `timeout` and `poll` are in seconds."""

    def __init__(
        self,
        cloud: Cloud,
        timeout: float,
        poll: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cloud = cloud
        self._timeout = timeout
        self._poll = poll
        self._sleep = sleep
        self._clock = clock

    def describe(self, name_or_id: str) -> dict[str, Any] | None:
        """The stack as DescribeStacks gives it; a name finds only what is not deleted."""
        from botocore.exceptions import ClientError

        try:
            stacks = self._api.describe_stacks(StackName=name_or_id)["Stacks"]
        except ClientError as error:
            if code(error) == "ValidationError" and "does not exist" in message(error):
                return None
            raise
        return dict(stacks[0]) if stacks else None

    def existing(self, stack_id: str) -> dict[str, Any]:
        """The stack, or FearlessError when it is gone."""
        there = self.describe(stack_id)
        if there is None:
            raise FearlessError(f"stack {stack_id} has vanished")
        return there

    def events(self, stack_id: str) -> list[Event]:
        """Every event CloudFormation still has of that stack id, oldest first."""
        pages = self._api.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        return [event for page in pages for event in page["StackEvents"]][::-1]

    def looks(self, otherwise: str) -> Iterator[None]:
        """One turn per look, with growing pauses; FearlessError(`otherwise`) at the timeout."""
        deadline, pause = self._clock() + self._timeout, self._poll
        while True:
            yield
            if self._clock() > deadline:
                raise FearlessError(
                    f"{otherwise} after {self._timeout:g} s: it goes on without us; run the same "
                    "command to go on watching"
                )
            self._sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def follow(
        self, stack_id: str, began: str, report: Report, before: AbstractSet[str] = frozenset()
    ) -> tuple[str, list[Event]]:
        """Report what happens from stack status `began` on until the stack rests.

        Returns its last status and those events. With `before`, the ids of older events, a
        status counts only once there is a newer one: right after a request the stack may still
        show how its previous operation ended. A call that is throttled is a look that saw
        nothing.
        """
        from botocore.exceptions import ClientError

        told = set(before)

        def news() -> list[Event]:
            events = [
                event
                for event in since(self.events(stack_id), began)
                if event["EventId"] not in before
            ]
            for event in events:
                if event["EventId"] not in told:
                    told.add(event["EventId"])
                    tell(event)
            return events

        def tell(event: Event) -> None:
            status = str(event["ResourceStatus"])
            if of_stack(event) or status.endswith("_FAILED"):
                report.line(describe(event))
            else:
                report.progress(f"stack {stack_name(stack_id)}", len(told), None, describe(event))

        for _ in self.looks(f"stack {stack_name(stack_id)} is still in progress"):
            try:
                started = bool(news()) or not before
                there = self.describe(stack_id)
                status = str(there["StackStatus"]) if there else "DELETE_COMPLETE"
                if status == "DELETE_COMPLETE" or (started and not status.endswith("_IN_PROGRESS")):
                    return status, news()
            except ClientError as error:
                if not throttled(error):
                    raise
        raise AssertionError("looks() ends by raising")

    @property
    def _api(self) -> Any:
        return self._cloud.client("cloudformation")
