"""Prove a fence by writing as the application, with a condition that never holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from fearless.errors import FearlessError, NotAuthorised
from fearless.interfaces import Report

SESSION = "fearless-canary"
"""The session name under which an application's role is assumed to try a write."""

DENIED = frozenset({"AccessDeniedException", "AccessDenied"})


class Canary:
    """`attempts` denials in a row, over `seconds` at least and each as a new session, prove it."""

    def __init__(
        self,
        application: Callable[[], Any],
        attempts: int = 20,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._application = application
        self._attempts = attempts
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep

    def confirm(self, who: str, tables: Callable[[], Sequence[Any]], report: Report) -> str:
        """Try until surely denied; `tables` gives DescribeTable's `Table`s. Evidence in one line.

        Raises FearlessError when writes still get through after a while, or cannot be tried.
        """
        started = last_allowed = self._clock()
        deadline = started + max(60.0, 6 * self._seconds)
        described = tables()
        denied = 0
        pause = self._seconds / max(1, self._attempts - 1)
        while denied < self._attempts or self._clock() - last_allowed < self._seconds:
            client = self._application()
            allowed = next((t["TableName"] for t in described if may_write(client, t)), "")
            if allowed:
                denied, last_allowed = 0, self._clock()
                if last_allowed > deadline:
                    raise FearlessError(
                        f"{who} can still write {deadline - started:.0f} s "
                        "after the fence: IAM has not taken it over; nothing was switched"
                    )
            else:
                denied += 1
            note = f"{allowed} can still be written" if allowed else "denied"
            report.progress("confirming the fence", denied, self._attempts, note)
            if denied < self._attempts or self._clock() - last_allowed < self._seconds:
                self._sleep(pause)
        return f"{denied} writes as {who} were denied over {self._clock() - last_allowed:.1f} s"


def assume(sts: Any, role: str, what: str) -> Any:
    """Credentials of a new session of an application's role (its ARN), to try a write with."""
    from botocore.exceptions import ClientError

    try:
        answer = sts.assume_role(RoleArn=role, RoleSessionName=SESSION, DurationSeconds=900)
    except ClientError as error:
        raise NotAuthorised(
            f"{role} cannot be assumed as {SESSION}, so the fence of {what} cannot be "
            f"proven: {error}; its trust policy must allow that session name"
        ) from error
    return answer["Credentials"]


def may_write(client: Any, description: Any) -> bool:
    """Whether this client may write the table; nothing is written either way."""
    from botocore.exceptions import ClientError

    table = description["TableName"]
    kinds = {a["AttributeName"]: a["AttributeType"] for a in description["AttributeDefinitions"]}
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
        if code in DENIED:
            return False
        if code == "ConditionalCheckFailedException":
            return True
        raise FearlessError(f"trying to write {table} as the application: {error}") from error
    return True
