"""What CloudFormation's events say: which belong to an operation, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]
"""One entry of DescribeStackEvents. Every list of them here is oldest first."""


def of_stack(event: Event) -> bool:
    """Whether the event is about the stack itself and not about a resource in it."""
    return bool(event.get("PhysicalResourceId") == event.get("StackId"))


def since(events: Sequence[Event], status: str) -> list[Event]:
    """The events from the last time the stack itself entered `status`; all when it never did."""
    for index in range(len(events) - 1, -1, -1):
        if of_stack(events[index]) and events[index]["ResourceStatus"] == status:
            return list(events[index:])
    return list(events)


def describe(event: Event) -> str:
    """`12:00:01 CREATE_FAILED AWS::DynamoDB::Table Orders: reason`."""
    at = event["Timestamp"].strftime("%H:%M:%S")
    reason = event.get("ResourceStatusReason") or ""
    line = f"{at} {event['ResourceStatus']} {event['ResourceType']} {event['LogicalResourceId']}"
    return f"{line}: {reason}" if reason else line


def root_cause(events: Sequence[Event]) -> str:
    """The first failed resource and its reason; empty when no event says.

    Resources cancelled because another one failed are consequences, and so is what the stack
    itself reports, unless it is all there is.
    """
    failed = [
        event
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
        and "cancelled" not in event.get("ResourceStatusReason", "").lower()
    ]
    failed.sort(key=of_stack)
    for event in failed:
        reason = event.get("ResourceStatusReason") or "no reason given"
        return f"{event['ResourceType']} {event['LogicalResourceId']}: {reason}"
    for event in events:
        if of_stack(event) and "ROLLBACK" in event["ResourceStatus"]:
            return str(event.get("ResourceStatusReason") or "")
    return ""


def ever_complete(events: Sequence[Event]) -> bool:
    """Whether the stack was, or may have been, complete once.

    CloudFormation keeps events for 90 days: when the beginning is missing, it may have been.
    """
    statuses = {event["ResourceStatus"] for event in events if of_stack(event)}
    return "CREATE_IN_PROGRESS" not in statuses or "CREATE_COMPLETE" in statuses
