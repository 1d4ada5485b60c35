"""The fences of a cutover as the command line names them: `role:NAME`, `policy`, `hook:COMMAND`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from fearless.data.calls import explain
from fearless.data.fences import Fence, Memory, Several
from fearless.data.fences.canary import Canary, assume
from fearless.data.fences.documents import principals
from fearless.data.fences.hook import Commands, HookFence
from fearless.data.fences.policy import PolicyFence
from fearless.data.fences.role import RoleFence
from fearless.data.fences.stop import StopFence
from fearless.data_command.sides import Side
from fearless.errors import ConfigError
from fearless.interfaces import Report

KINDS = {"role": True, "policy": False, "hook": True, "stop": True, "none": False}
"""Each kind of fence, and whether it needs something after a colon."""

FENCE = ("role", "policy", "hook", "stop")
OPEN = ("role", "policy", "hook", "stop", "none")


@dataclass(frozen=True)
class Spec:
    """A fence as it is written: `kind` and, after a colon, `value`."""

    kind: str
    value: str = ""

    @classmethod
    def of(cls, text: str, option: str, kinds: Sequence[str]) -> Spec:
        """From `role:shop-app`; raises ConfigError with what could be written instead."""
        kind, colon, value = text.partition(":")
        if kind not in kinds or bool(colon and value) != KINDS[kind]:
            forms = [f"{name}:..." if KINDS[name] else name for name in kinds]
            raise ConfigError(f"{option} {text}: it must be one of {', '.join(forms)}")
        return cls(kind, value)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.value else self.kind


class Unfenced:
    """A side that nobody closes: its applications are the user's own business."""

    timed = True

    def fence(self, attempt: int, seconds: float | None) -> None:
        """Nothing."""

    def unfence(self, attempt: int) -> None:
        """Nothing."""

    def confirm(self, report: Report) -> str:
        """Nothing was closed."""
        return "whether anybody writes the new side is not looked at"

    def fenced(self) -> bool:
        """Never."""
        return False


def fence(
    spec: Spec, side: Side, tables: Sequence[str], memory: Memory, run: str, report: Report
) -> Fence:
    """The fence of `tables`, which are at `side`, for the run."""

    def describe() -> Sequence[Any]:
        return [side.description(table) for table in tables]

    near = side.near
    if spec.kind == "role":
        fences = []
        for role in spec.value.split(","):
            canary = Canary(_as_role(side, role), 5 if near else 20, seconds=0.5 if near else 10.0)
            name = f"{run}-{side.name}"
            fences.append(RoleFence(side.client("iam"), [role], describe, canary, name))
        return Several(fences)
    if spec.kind == "policy":
        return PolicyFence(side.control, describe, _me(side), memory, f"{run}-{side.name}")
    if spec.kind == "hook":
        words = shlex.split(spec.value)
        commands = Commands(*((*words, what) for what in ("fence", "unfence", "check")))
        return HookFence(commands, report, memory, side.name)
    if spec.kind == "stop":
        return StopFence(side.client("autoscaling"), spec.value.split(","), memory)
    return Unfenced()


def _as_role(side: Side, role: str) -> Callable[[], Any]:
    """What makes a client with a new session of the role."""
    sts, iam = side.client("sts"), side.client("iam")

    def client() -> Any:
        try:
            arn = str(iam.get_role(RoleName=role)["Role"]["Arn"])
        except ClientError as error:
            raise explain(error, f"looking for role {role}") from error
        return side.acting_as(assume(sts, arn, role))

    return client


def _me(side: Side) -> tuple[str, ...]:
    """The principals that synchronise, which a policy must let write."""
    return principals(str(side.client("sts").get_caller_identity()["Arn"]))
