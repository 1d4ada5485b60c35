"""Which applications may write: inline IAM policies on a stack's application role."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from fearless.errors import FearlessError, NotAuthorised, Refused
from fearless.interfaces import Report, Stack

OPEN = "fearless-open"
FENCE = "fearless-fence"
CANARY = "fearless-canary"
WRITES = (
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
)
_DENIED = frozenset({"AccessDeniedException", "AccessDenied"})
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def open_policy(tables: Sequence[str]) -> dict[str, Any]:
    """Allow writing to the tables of these ARNs."""
    return _policy("Allow", tables)


def fence_policy(tables: Sequence[str], until: datetime | None) -> dict[str, Any]:
    """Deny writing to them, whatever else allows it: for good, or until a moment (UTC)."""
    policy = _policy("Deny", tables)
    if until is not None:
        policy["Statement"][0]["Condition"] = {
            "DateLessThan": {"aws:CurrentTime": until.strftime(_TIME)}
        }
    return policy


def fenced(policy: Any, now: datetime) -> bool:
    """Whether a fence policy holds at a moment."""
    condition = policy["Statement"][0].get("Condition")
    if not condition:
        return True
    until = condition["DateLessThan"]["aws:CurrentTime"]
    return now < datetime.strptime(until, _TIME).replace(tzinfo=UTC)


def _policy(effect: str, tables: Sequence[str]) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": f"Fearless{effect}Writes",
                "Effect": effect,
                "Action": list(WRITES),
                "Resource": sorted(tables),
            }
        ],
    }


def table_names(stack: Stack) -> list[str]:
    """The physical names of the stack's application tables, by its outputs."""
    return sorted(value for name, value in stack.outputs.items() if name.startswith("Table"))


class Fence:
    """Opens, fences and checks stacks. `attempts` denials in a row over `seconds` prove a fence."""

    def __init__(
        self,
        client: Callable[[str], Any],
        as_role: Callable[[Any], Any],
        attempts: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._as_role = as_role
        self._attempts = attempts
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep

    def writable(self, stack: Stack) -> bool:
        """True when the stack is open and no fence is in force by the server's clock."""
        opened, _ = self._get(stack, OPEN)
        if opened is None:
            return False
        fence, now = self._get(stack, FENCE)
        return fence is None or not fenced(fence, now)

    def open(self, stack: Stack) -> None:
        """Allow writes, and lift any fence."""
        if tables := self._arns(stack):
            self._put(stack, OPEN, open_policy(tables))
        self._delete(stack, FENCE)

    def fence(self, stack: Stack, seconds: float | None) -> None:
        """Deny writes for so many seconds, after which they go on by themselves, or for good."""
        tables = self._arns(stack)
        if not tables:
            return
        until = None
        if seconds is not None:
            _, now = self._get(stack, OPEN)
            until = now + timedelta(seconds=seconds)
        self._put(stack, FENCE, fence_policy(tables, until))
        if seconds is None:
            self._delete(stack, OPEN)

    def unfence(self, stack: Stack) -> None:
        """Lift a timed fence. Raises Refused when the stack was fenced for good."""
        fence, _ = self._get(stack, FENCE)
        if fence is not None and "Condition" not in fence["Statement"][0]:
            raise Refused(
                f"{stack.name} is fenced for good: another stack holds the newer data; "
                "only going live again opens it"
            )
        self._delete(stack, FENCE)

    def forget(self, stack: Stack) -> None:
        """Remove both policies; nothing when the role is gone already."""
        for name in (OPEN, FENCE):
            self._delete(stack, name)

    def confirm(self, stack: Stack, report: Report) -> None:
        """Write as the application, with a condition that never holds, until surely denied."""
        tables = table_names(stack)
        if not tables:
            return
        started = last_allowed = self._clock()
        deadline = started + max(60.0, 6 * self._seconds)
        denied = 0
        pause = self._seconds / max(1, self._attempts - 1)
        while denied < self._attempts or self._clock() - last_allowed < self._seconds:
            if self._clock() > deadline:
                raise FearlessError(
                    f"the applications of {stack.name} can still write {deadline - started:.0f} s "
                    "after the fence: IAM has not taken it over; nothing was switched"
                )
            allowed = self._try(stack, tables)
            if allowed:
                denied, last_allowed = 0, self._clock()
            else:
                denied += 1
            note = f"{allowed} can still be written" if allowed else "denied"
            report.progress("confirming the fence", denied, self._attempts, note)
            if denied < self._attempts or self._clock() - last_allowed < self._seconds:
                self._sleep(pause)
        report.line(
            f"{stack.name}: {denied} writes as its application were denied over "
            f"{self._clock() - last_allowed:.1f} s"
        )

    def _try(self, stack: Stack, tables: Sequence[str]) -> str:
        """The first table a fresh session of the application could write, or nothing."""
        from botocore.exceptions import ClientError

        role = self._client("iam").get_role(RoleName=stack.outputs["AppRole"])["Role"]["Arn"]
        try:
            answer = self._client("sts").assume_role(
                RoleArn=role, RoleSessionName=CANARY, DurationSeconds=900
            )
        except ClientError as error:
            raise NotAuthorised(
                f"{role} cannot be assumed as {CANARY}, so the fence of {stack.name} cannot be "
                f"proven: {error}; its trust policy must allow that session name"
            ) from error
        client = self._as_role(answer["Credentials"])
        for table in tables:
            if self._may_write(client, table):
                return table
        return ""

    def _may_write(self, client: Any, table: str) -> bool:
        from botocore.exceptions import ClientError

        description = self._client("dynamodb").describe_table(TableName=table)["Table"]
        kinds = {
            a["AttributeName"]: a["AttributeType"] for a in description["AttributeDefinitions"]
        }
        values: dict[str, Any] = {"S": "~fearless#canary", "N": "-1", "B": b"~fearless#canary"}
        keys = [part["AttributeName"] for part in description["KeySchema"]]
        try:
            client.put_item(
                TableName=table,
                Item={name: {kinds[name]: values[kinds[name]]} for name in keys},
                ConditionExpression="attribute_exists(#key) AND attribute_not_exists(#key)",
                ExpressionAttributeNames={"#key": keys[0]},
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _DENIED:
                return False
            if code == "ConditionalCheckFailedException":
                return True
            raise FearlessError(f"trying to write {table} as the application: {error}") from error
        return True

    def _arns(self, stack: Stack) -> list[str]:
        client = self._client("dynamodb")
        return [
            client.describe_table(TableName=name)["Table"]["TableArn"]
            for name in table_names(stack)
        ]

    def _get(self, stack: Stack, name: str) -> tuple[Any, datetime]:
        """A policy of the role (None: absent), and the server's time."""
        from urllib.parse import unquote

        from botocore.exceptions import ClientError

        try:
            answer = self._client("iam").get_role_policy(
                RoleName=stack.outputs["AppRole"], PolicyName=name
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise FearlessError(f"reading the rights of {stack.name}: {error}") from error
            return None, _date(error.response)
        document = answer["PolicyDocument"]
        if isinstance(document, str):
            document = json.loads(unquote(document))
        return document, _date(answer)

    def _put(self, stack: Stack, name: str, policy: dict[str, Any]) -> None:
        from botocore.exceptions import ClientError

        try:
            self._client("iam").put_role_policy(
                RoleName=stack.outputs["AppRole"],
                PolicyName=name,
                PolicyDocument=json.dumps(policy, sort_keys=True),
            )
        except ClientError as error:
            raise FearlessError(f"changing the rights of {stack.name}: {error}") from error

    def _delete(self, stack: Stack, name: str) -> None:
        from botocore.exceptions import ClientError

        try:
            self._client("iam").delete_role_policy(
                RoleName=stack.outputs["AppRole"], PolicyName=name
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise FearlessError(f"changing the rights of {stack.name}: {error}") from error


def _date(answer: Any) -> datetime:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
