"""Which applications may write: inline IAM policies on a stack's application role."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from fearless.data.fences import server_time
from fearless.data.fences.canary import Canary, assume
from fearless.data.fences.documents import fence_policy, fenced, open_policy
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Report, Stack

OPEN = "fearless-open"
FENCE = "fearless-fence"


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
        names = table_names(stack)
        if not names:
            return
        canary = Canary(
            lambda: self._session(stack), self._attempts, self._seconds, self._clock, self._sleep
        )
        proof = canary.confirm(
            f"the applications of {stack.name}",
            lambda: [self._describe(name) for name in names],
            report,
        )
        report.line(proof)

    def _session(self, stack: Stack) -> Any:
        role = self._client("iam").get_role(RoleName=stack.outputs["AppRole"])["Role"]["Arn"]
        return self._as_role(assume(self._client("sts"), role, stack.name))

    def _describe(self, name: str) -> Any:
        return self._client("dynamodb").describe_table(TableName=name)["Table"]

    def _arns(self, stack: Stack) -> list[str]:
        return [self._describe(name)["TableArn"] for name in table_names(stack)]

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
            return None, server_time(error.response)
        document = answer["PolicyDocument"]
        if isinstance(document, str):
            document = json.loads(unquote(document))
        return document, server_time(answer)

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
