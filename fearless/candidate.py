"""Delete a candidate that is not wanted: a release's stack that never went live."""

from __future__ import annotations

from fearless.devstack import discard
from fearless.errors import Refused
from fearless.interfaces import Stack
from fearless.procedure import Done, Procedure
from fearless.steps.switch import balancer


def drop(procedure: Procedure) -> Done:
    """Delete the stack of `sha=`, its data, its machine image and its image.

    Raises Refused for one that is live, or ever was: those are `doit retire`'s.
    """
    project, release = procedure.project, procedure.release
    stack = project.provisioner.find(release.stack_name)
    if stack is None:
        return Done(f"there is no stack of {release.short}", {"dropped": None})
    procedure.change()
    allow(procedure, stack)
    project.store.forget(stack)
    allow(procedure, stack)
    project.provisioner.delete(stack, procedure.report)
    for step in procedure.ledger.steps(release):
        procedure.ledger.delete(f"STEPS#{release.stack_name}", step)
    procedure.ledger.delete("RELEASE", release.sha)
    procedure.ledger.delete("CUTOVER", stack.id)
    procedure.ledger.event("dropped", f"{stack.name} was deleted; it never went live")
    discard(procedure, release.sha)
    return Done(f"{stack.name} is gone", {"dropped": stack.name})


def allow(procedure: Procedure, stack: Stack) -> None:
    """The guards, asked right before deleting."""
    live = procedure.live()
    record = procedure.ledger.release(procedure.release.sha) or {}
    if stack.tags.get("fearless:app") != procedure.release.app or stack.kind != "release":
        raise Refused(f"{stack.name} does not carry the tags of a release of ours")
    if live is not None and stack.id == live.stack_id:
        raise Refused(f"{stack.name} is live")
    if record.get("went_live") == stack.id:
        raise Refused(f"{stack.name} was live before; `doit retire` deletes it when it is due")
    if stack.ready and procedure.project.dns.current() == balancer(stack):
        raise Refused(f"{procedure.project.domain} points at {stack.name}")
    if stack.ready and procedure.sealed():
        raise Refused(f"the cutover to {stack.name} was interrupted; finish it with `doit cutover`")
