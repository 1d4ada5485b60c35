"""Fence by an inline denial in the roles that the application writes with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from fearless.data.calls import code, explain
from fearless.data.fences import server_time
from fearless.data.fences.canary import Canary
from fearless.data.fences.documents import fence_policy, fenced
from fearless.interfaces import Report

KINDS = ("timed", "sealed")


class RoleFence:
    """Denies every write of these roles to the tables, by policies of their own for each attempt.

    Whoever writes with another role is not fenced: name every role that does. Quick to put up and
    to lift. `name` tells this run's policies from others'; `describe` gives DescribeTable's
    `Table` of each table.
    """

    timed = True

    def __init__(
        self,
        iam: Any,
        roles: Sequence[str],
        describe: Callable[[], Sequence[Any]],
        canary: Canary,
        name: str,
    ) -> None:
        self._iam = iam
        self._roles = tuple(roles)
        self._describe = describe
        self._canary = canary
        self._prefix = f"fearless-fence-{re.sub(r'[^A-Za-z0-9_+=,.@-]', '-', name)[:80]}-"

    def fence(self, attempt: int, seconds: float | None) -> None:
        """Deny writes, for so long by the clock of IAM or for good."""
        tables = [table["TableArn"] for table in self._describe()]
        for role in self._roles:
            until, kind = None, "sealed"
            if seconds is not None:
                until, kind = self._now(role) + timedelta(seconds=seconds), "timed"
            try:
                self._iam.put_role_policy(
                    RoleName=role,
                    PolicyName=f"{self._prefix}{attempt:04d}-{kind}",
                    PolicyDocument=json.dumps(fence_policy(tables, until), sort_keys=True),
                )
            except ClientError as error:
                raise explain(error, f"fencing role {role}") from error

    def unfence(self, attempt: int) -> None:
        """Remove the denials of this attempt and of those before it."""
        for role in self._roles:
            for name, number in self._names(role):
                if number <= attempt:
                    self._delete(role, name)

    def confirm(self, report: Report) -> str:
        """Write as the application until surely denied."""
        return self._canary.confirm(f"role {', '.join(self._roles)}", self._describe, report)

    def fenced(self) -> bool:
        """Whether a denial holds in each of the roles."""
        return all(self._holds(role) for role in self._roles)

    def _holds(self, role: str) -> bool:
        for name, _ in self._names(role):
            try:
                answer = self._iam.get_role_policy(RoleName=role, PolicyName=name)
            except ClientError as error:
                if code(error) == "NoSuchEntity":
                    continue
                raise explain(error, f"reading the rights of role {role}") from error
            document = answer["PolicyDocument"]
            if isinstance(document, str):
                document = json.loads(unquote(document))
            if fenced(document, server_time(answer)):
                return True
        return False

    def _names(self, role: str) -> Iterator[tuple[str, int]]:
        request: dict[str, Any] = {"RoleName": role}
        while True:
            try:
                answer = self._iam.list_role_policies(**request)
            except ClientError as error:
                raise explain(error, f"reading the rights of role {role}") from error
            for name in answer["PolicyNames"]:
                number, _, kind = name.removeprefix(self._prefix).partition("-")
                if name.startswith(self._prefix) and number.isdigit() and kind in KINDS:
                    yield name, int(number)
            if not answer.get("IsTruncated"):
                return
            request["Marker"] = answer["Marker"]

    def _now(self, role: str) -> datetime:
        try:
            return server_time(self._iam.get_role(RoleName=role))
        except ClientError as error:
            raise explain(error, f"reading role {role}") from error

    def _delete(self, role: str, name: str) -> None:
        try:
            self._iam.delete_role_policy(RoleName=role, PolicyName=name)
        except ClientError as error:
            if code(error) != "NoSuchEntity":
                raise explain(error, f"unfencing role {role}") from error
