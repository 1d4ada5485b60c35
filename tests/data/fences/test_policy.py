"""Fencing by resource policies: against the service's shapes, and against its rules in memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from fearless.data.fences import Fence
from fearless.data.fences.policy import NONE, PolicyFence
from fearless.errors import FearlessError, NotAuthorised, Refused
from tests.data.fences.given import Clock, Notes, described

TABLE = described("orders")
ARN = TABLE["TableArn"]
SYNC = "arn:aws:iam::000000000000:role/sync"
THEIRS = (
    '{ "Version": "2012-10-17", "Statement": {"Sid": "theirs", "Effect": "Allow", '
    '"Principal": "*", "Action": "dynamodb:GetItem", "Resource": "*"} }'
)
START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


class Service:
    """Resource policies as the service documents them: late reads, and 15 s between changes."""

    def __init__(self, clock: Clock, text: str = "", lag: float = 3.0) -> None:
        self.clock = clock
        self.lag = lag
        self.number = 1
        self.history = [(-1000.0, text, self.revision(text))]
        self.calls: list[str] = []

    def revision(self, text: str) -> str:
        self.number += 1
        return f"r{self.number}" if text else NONE

    def answer(self, **more: Any) -> dict[str, Any]:
        now = START + timedelta(seconds=self.clock.now)
        headers = {"date": format_datetime(now, usegmt=True)}
        return {**more, "ResponseMetadata": {"HTTPHeaders": headers, "HTTPStatusCode": 200}}

    def refuse(self, name: str) -> None:
        raise ClientError({**self.answer(), "Error": {"Code": name, "Message": "no"}}, "X")

    def get_resource_policy(self, ResourceArn: str) -> Any:
        seen = [h for h in self.history if h[0] + self.lag <= self.clock.now][-1]
        if not seen[1]:
            self.refuse("PolicyNotFoundException")
        return self.answer(Policy=seen[1], RevisionId=seen[2])

    def change(self, text: str, expected: str) -> Any:
        at, _, revision = self.history[-1]
        if self.clock.now - at < 15:
            self.calls.append("busy")
            self.refuse("ResourceInUseException")
        if revision != expected:
            self.calls.append("moved")
            self.refuse("PolicyNotFoundException")
        self.calls.append("put" if text else "delete")
        self.history.append((self.clock.now, text, self.revision(text)))
        return self.answer(RevisionId=self.history[-1][2])

    def put_resource_policy(self, ResourceArn: str, Policy: str, ExpectedRevisionId: str) -> Any:
        assert ResourceArn == ARN
        return self.change(Policy, ExpectedRevisionId)

    def delete_resource_policy(self, ResourceArn: str, ExpectedRevisionId: str) -> Any:
        return self.change("", ExpectedRevisionId)

    @property
    def text(self) -> str:
        return self.history[-1][1]

    @property
    def statements(self) -> Any:
        return json.loads(self.text)["Statement"]


def fence(service: Any, clock: Clock, notes: Notes | None = None, **more: Any) -> PolicyFence:
    return PolicyFence(
        service,
        lambda: [TABLE],
        [SYNC],
        notes or Notes(),
        "run",
        clock=clock,
        sleep=clock.sleep,
        **more,
    )


@pytest.mark.parametrize("before", ["", THEIRS])
def test_a_policy_that_was_there_is_kept_and_restored_to_the_letter(before: str) -> None:
    clock = Clock()
    service = Service(clock, before)
    made: Fence = fence(service, clock)
    assert not made.fenced()
    made.fence(1, 75)
    ours = service.statements[-1]
    assert len(service.statements) == (2 if before else 1)
    assert ours["Condition"]["DateLessThan"] == {"aws:CurrentTime": "2026-11-24T03:01:15Z"}
    assert ours["Condition"]["ArnNotLike"] == {"aws:PrincipalArn": [SYNC]}
    made.unfence(1)
    assert service.text == before
    assert clock.now >= 15
    clock.sleep(5)
    assert not made.fenced()
    assert service.calls.count("put") == (2 if before else 1)
    made.unfence(1)
    assert service.calls[-1] in ("put", "delete")


def test_timed_then_for_good_and_never_timed_again() -> None:
    clock = Clock()
    service = Service(clock)
    made = fence(service, clock)
    made.fence(2, 75)
    assert "busy" not in service.calls
    made.fence(2, None)
    assert "busy" in service.calls
    assert [s["Sid"][-5:] for s in service.statements] == ["x0002"]
    assert "DateLessThan" not in service.statements[0]["Condition"]
    clock.sleep(20)
    for late in (1, 2):
        made.fence(late, 75)
    made.unfence(1)
    assert "DateLessThan" not in service.statements[0]["Condition"]
    assert made.fenced()
    clock.sleep(1000)
    assert made.fenced()
    made.unfence(3)
    assert service.text == ""


def test_a_fence_just_put_up_is_lifted_though_it_cannot_be_read_yet() -> None:
    clock = Clock()
    service, notes = Service(clock, THEIRS, lag=9.0), Notes()
    fence(service, clock, notes).fence(1, 75)
    fence(service, clock, notes).unfence(1)
    assert service.text == THEIRS


def test_what_somebody_else_adds_meanwhile_stays() -> None:
    clock = Clock()
    service = Service(clock, THEIRS, lag=0.0)
    made = fence(service, clock)
    made.fence(1, 75)
    clock.sleep(20)
    document = json.loads(service.text)
    document["Statement"].append({**document["Statement"][0], "Sid": "new"})
    service.change(json.dumps(document), service.history[-1][2])
    made.unfence(1)
    assert [s["Sid"] for s in service.statements] == ["theirs", "new"]


def test_a_change_between_reading_and_writing_is_not_overwritten() -> None:
    clock = Clock()
    service = Service(clock, THEIRS, lag=0.0)
    read = service.get_resource_policy
    other = json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": "other"}]})

    def meddled(ResourceArn: str) -> Any:
        answer = read(ResourceArn)
        if service.text == THEIRS:
            service.change(other, service.history[-1][2])
            clock.sleep(15)
        return answer

    service.get_resource_policy = meddled  # type: ignore[method-assign]
    fence(service, clock).fence(1, None)
    assert "moved" in service.calls
    assert service.statements[0]["Sid"] == "other"


def test_it_lifts_itself_by_the_clock_of_the_service() -> None:
    clock = Clock()
    made = fence(Service(clock, lag=0.0), clock)
    made.fence(1, 75)
    assert made.fenced()
    clock.sleep(76)
    assert not made.fenced()


def test_without_a_canary_it_waits_and_says_that_nobody_tried(report: Any) -> None:
    clock = Clock()
    made = fence(Service(clock), clock)
    made.fence(1, 75)
    assert "nobody tried to write" in made.confirm(report)
    assert clock.now >= 30
    assert report.lines == ["waiting 30 s for the resource policies to take effect"]
    clock.sleep(100)
    with pytest.raises(FearlessError, match="do not show the fence"):
        made.confirm(report)


def test_what_it_refuses() -> None:
    clock = Clock()
    with pytest.raises(Refused, match="would lock out the sync"):
        PolicyFence(None, list, [], Notes(), "run")
    made = fence(Service(clock), clock)
    made._describe = lambda: [described("orders", Replicas=[{"RegionName": "eu-west-1"}])]
    with pytest.raises(Refused, match="orders is a global table with 1 other replicas"):
        made.fence(1, 75)
    long = json.dumps({"Version": "x", "Statement": [{"Sid": "x" * 20_000}]})
    with pytest.raises(Refused, match="20480 are the limit: use the fence `role`"):
        fence(Service(clock, long), clock).fence(1, 75)


def test_a_service_that_stays_busy_is_an_error() -> None:
    clock = Clock()
    service = Service(clock)

    def busy(**_: Any) -> None:
        service.refuse("ResourceInUseException")

    service.put_resource_policy = busy  # type: ignore[method-assign, assignment]
    with pytest.raises(FearlessError, match="could not be changed for 45 s"):
        fence(service, clock).fence(1, 75)


def test_the_requests_have_the_shapes_of_the_service() -> None:
    client = botocore.session.get_session().create_client(
        "dynamodb", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    read, put = {"ResourceArn": ARN}, {"ResourceArn": ARN, "Policy": ANY}
    with Stubber(client) as stub:
        made = fence(client, Clock(), lag=0.0)
        stub.add_client_error(
            "get_resource_policy", "PolicyNotFoundException", expected_params=read
        )
        stub.add_response(
            "put_resource_policy", {"RevisionId": "1"}, {**put, "ExpectedRevisionId": NONE}
        )
        made.fence(1, 75)
        stub.add_response("get_resource_policy", {"Policy": THEIRS, "RevisionId": "7"}, read)
        stub.add_response(
            "put_resource_policy", {"RevisionId": "8"}, {**put, "ExpectedRevisionId": "7"}
        )
        made.fence(1, None)
        stub.add_client_error("get_resource_policy", "AccessDeniedException")
        with pytest.raises(NotAuthorised, match="reading the resource policy"):
            made.fenced()
        stub.add_response("get_resource_policy", {"Policy": THEIRS, "RevisionId": "8"}, read)
        stub.add_client_error("put_resource_policy", "AccessDeniedException")
        with pytest.raises(NotAuthorised, match="changing the resource policy"):
            made.fence(1, None)
        alone = json.dumps({"Version": "x", "Statement": [{"Sid": f"{made._prefix}0001"}]})
        stub.add_response("get_resource_policy", {"Policy": alone, "RevisionId": "9"}, read)
        stub.add_response(
            "delete_resource_policy",
            {"RevisionId": "9"},
            {"ResourceArn": ARN, "ExpectedRevisionId": "9"},
        )
        stub.add_client_error("get_resource_policy", "PolicyNotFoundException")
        made.unfence(1)
        stub.assert_no_pending_responses()
