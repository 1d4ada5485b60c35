"""Following a stack when CloudFormation is slow, stale, throttled or failing: scripted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from fearless.builtin.cloudformation import CloudFormation
from fearless.builtin.stack_events import describe, ever_complete, root_cause, since
from fearless.errors import FearlessError, NotAuthorised, Refused
from fearless.interfaces import Release, Stack
from fearless.testing.fakes import FakeCloud, SilentReport
from tests.stacks import release

OF = release("dev")
ID = f"arn:aws:cloudformation:us-east-1:000000000000:stack/{OF.stack_name}/uuid"


def event(status: str, name: str = "", reason: str = "", at: int = 0) -> dict[str, Any]:
    """An event of resource `name`, or of the stack itself, `at` seconds past noon."""
    return {
        "EventId": f"{status}-{name}-{at}",
        "StackId": ID,
        "PhysicalResourceId": "physical" if name else ID,
        "LogicalResourceId": name or OF.stack_name,
        "ResourceType": "AWS::DynamoDB::Table" if name else "AWS::CloudFormation::Stack",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": datetime(2026, 11, 23, 12, 0, at, tzinfo=UTC),
    }


def answer(code: str, text: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": text}}, "DescribeStacks")


CREATING = [event("CREATE_IN_PROGRESS")]
CREATED = [*CREATING, event("CREATE_COMPLETE", at=1)]
FAILED = [
    *CREATING,
    event("CREATE_FAILED", "Products", "Resource creation cancelled", 1),
    event("CREATE_FAILED", "Orders", "Limit of 2,500 tables reached", 2),
    event("ROLLBACK_IN_PROGRESS", "", "The following resource(s) failed: [Orders].", 3),
    event("DELETE_FAILED", "Items", "is protected", 4),
    event("ROLLBACK_FAILED", "", "The following resource(s) failed to delete: [Items].", 5),
]
DELETING = [event("DELETE_IN_PROGRESS", at=6)]
CAUSE = "AWS::DynamoDB::Table Orders: Limit of 2,500 tables reached"


@dataclass
class Script:
    """A CloudFormation client: each DescribeStacks moves on to the next status and events."""

    looks: list[tuple[str, list[dict[str, Any]]] | Exception]
    deleted: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        status, self.events = look
        stack = {
            "StackName": OF.stack_name,
            "StackId": ID,
            "StackStatus": status,
            "CreationTime": datetime(2026, 11, 23, tzinfo=UTC),
            "Tags": [{"Key": key, "Value": value} for key, value in OF.tags().items()],
        }
        return {"Stacks": [stack]}

    def get_paginator(self, operation: str) -> Script.Pages:
        return Script.Pages(self, operation)

    def delete_stack(self, StackName: str) -> None:
        self.deleted.append(StackName)

    @dataclass
    class Pages:
        script: Script
        operation: str

        def paginate(self, StackName: str) -> list[dict[str, Any]]:
            assert StackName == ID
            if self.operation == "list_stack_resources":
                return [{"StackResourceSummaries": []}]
            newest_first = self.script.events[::-1]
            return [{"StackEvents": newest_first[:2]}, {"StackEvents": newest_first[2:]}]


def create(*looks: Any, of: Release = OF, timeout: int = 5) -> tuple[Stack, list[str]]:
    cloud, report = FakeCloud({"cloudformation": Script(list(looks))}), SilentReport()
    return CloudFormation(cloud, timeout, 0).create(of, "", {}, report), report.lines


def delete(*looks: Any) -> tuple[Script, list[str]]:
    script, report = Script(list(looks)), SilentReport()
    cloud = FakeCloud({"cloudformation": script, "dynamodb": None})
    stack = Stack(OF.stack_name, ID, "", "", "", "", datetime.now(UTC), tags=OF.tags())
    CloudFormation(cloud, 5, 0).delete(stack, report)
    return script, report.lines


def test_a_creation_in_progress_is_followed_to_its_end() -> None:
    stack, lines = create(
        ("CREATE_IN_PROGRESS", CREATING),
        ("CREATE_IN_PROGRESS", [*CREATING, event("CREATE_IN_PROGRESS", "Orders", at=1)]),
        ("CREATE_COMPLETE", CREATED),
    )
    assert stack.ready
    assert lines == [
        f"stack {OF.stack_name} is CREATE_IN_PROGRESS: following",
        f"12:00:00 CREATE_IN_PROGRESS AWS::CloudFormation::Stack {OF.stack_name}",
        f"12:00:01 CREATE_COMPLETE AWS::CloudFormation::Stack {OF.stack_name}",
    ]


@pytest.mark.parametrize("end", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"])
def test_anything_but_complete_is_a_failure_with_its_root_cause(end: str) -> None:
    with pytest.raises(FearlessError) as caught:
        create(("CREATE_IN_PROGRESS", CREATING), ("ROLLBACK_IN_PROGRESS", FAILED), (end, FAILED))
    assert str(caught.value) == (
        f"error: stack {OF.stack_name} is {end}: {CAUSE} "
        "(mend that and run the same command; what is left is deleted first)"
    )


def test_a_stack_that_deleted_itself_still_says_why() -> None:
    with pytest.raises(FearlessError, match=f"is DELETE_COMPLETE: {CAUSE}"):
        create(("ROLLBACK_IN_PROGRESS", FAILED), ("DELETE_COMPLETE", FAILED))


def test_a_stack_somebody_updated_is_not_ours_to_mend() -> None:
    with pytest.raises(FearlessError, match=r"UPDATE_ROLLBACK_COMPLETE: .*never updates a stack"):
        create(("UPDATE_ROLLBACK_COMPLETE", CREATED))


def test_a_half_deleted_stack_that_was_complete_once_is_refused() -> None:
    events = [*CREATED, *DELETING, event("DELETE_FAILED", "Orders", "in use", 7)]
    with pytest.raises(Refused, match="was complete once and is half deleted"):
        create(("DELETE_FAILED", events), ("DELETE_FAILED", events))


def test_throttling_is_waited_out() -> None:
    stack, _ = create(
        ("CREATE_IN_PROGRESS", CREATING), answer("Throttling"), ("CREATE_COMPLETE", CREATED)
    )
    assert stack.ready


def test_a_creation_that_takes_too_long_goes_on_without_us() -> None:
    with pytest.raises(FearlessError, match="still in progress after 0 s: it goes on without us"):
        create(("CREATE_IN_PROGRESS", CREATING), timeout=0)


@pytest.mark.parametrize(
    "error", [answer("ExpiredToken"), answer("AccessDenied"), NoCredentialsError()]
)
@pytest.mark.parametrize("before", [0, 2])
def test_credentials_that_are_not_accepted_are_said_so(error: Exception, before: int) -> None:
    with pytest.raises(NotAuthorised, match=f"creating stack {OF.stack_name}: "):
        create(*[("CREATE_IN_PROGRESS", CREATING)] * before, error)


def test_a_status_from_before_the_request_does_not_count() -> None:
    script, lines = delete(
        ("CREATE_COMPLETE", CREATED),
        ("CREATE_COMPLETE", CREATED),
        ("DELETE_IN_PROGRESS", [*CREATED, *DELETING]),
        ("DELETE_COMPLETE", [*CREATED, *DELETING, event("DELETE_COMPLETE", at=8)]),
    )
    assert script.deleted == [ID]
    assert [line.split()[1] for line in lines] == ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]


def test_a_deletion_that_fails_names_the_resource() -> None:
    over = [*CREATED, *DELETING, event("DELETE_FAILED", "Orders", "in use", 7)]
    with pytest.raises(FearlessError, match="DELETE_FAILED: AWS::DynamoDB::Table Orders: in use"):
        delete(("CREATE_COMPLETE", CREATED), ("DELETE_FAILED", over))


def test_a_deletion_in_progress_is_followed_not_repeated() -> None:
    script, _ = delete(
        ("DELETE_IN_PROGRESS", [*CREATED, *DELETING]),
        ("DELETE_COMPLETE", [*CREATED, *DELETING]),
    )
    assert script.deleted == []


def test_the_root_cause_is_neither_a_cancellation_nor_the_summary() -> None:
    assert root_cause(FAILED) == CAUSE
    assert root_cause(FAILED[:2]) == ""
    assert root_cause([FAILED[3]]) == "The following resource(s) failed: [Orders]."
    assert root_cause(CREATED) == ""


def test_events_belong_to_the_last_operation() -> None:
    events = [*CREATED, *DELETING, event("DELETE_FAILED", "Orders"), event("DELETE_FAILED")]
    assert since(events, "DELETE_IN_PROGRESS") == events[2:]
    assert since(events, "UPDATE_IN_PROGRESS") == events
    assert describe(FAILED[2]).startswith("12:00:02 CREATE_FAILED AWS::DynamoDB::Table Orders: Li")


def test_a_stack_whose_beginning_is_forgotten_may_have_been_complete() -> None:
    assert not ever_complete(FAILED)
    assert ever_complete(CREATED)
    assert ever_complete(DELETING)
