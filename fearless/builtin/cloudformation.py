"""Create and delete stacks with AWS CloudFormation, always by stack id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from fearless.builtin.aws import code, explained
from fearless.builtin.change_set import (
    check_capabilities,
    check_parameters,
    tag_list,
    what_it_makes,
)
from fearless.builtin.stack_events import ever_complete, root_cause
from fearless.builtin.stack_watch import StackWatch, stack_name
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Cloud, Release, Report, Stack

LEFTOVER = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
"""A stack in one of these can only be deleted."""

ALREADY_EXECUTED = ("InvalidChangeSetStatus", "InvalidChangeSetStatusException")
"""Answers to a second ExecuteChangeSet, which botocore may send when the first got no answer."""


class CloudFormation:
    """Stacks by change set, so that what will be made is shown before it is.

    `timeout` (seconds) is how long an operation is followed; it goes on when we stop looking.
    `poll` (seconds) is the first pause between two looks. `capabilities` lists what a template
    may ask for; by default roles with generated names only.
    """

    def __init__(
        self,
        cloud: Cloud,
        timeout: int = 3600,
        poll: float = 0.5,
        capabilities: list[str] | None = None,
    ) -> None:
        self._cloud = cloud
        self._watch = StackWatch(cloud, timeout, poll)
        self._capabilities = frozenset(capabilities or ("CAPABILITY_IAM",))

    @property
    def _api(self) -> Any:
        return self._cloud.client("cloudformation")

    def find(self, name: str) -> Stack | None:
        """The stack of that name that is not deleted, whatever its status."""
        with explained(f"looking for stack {name}"):
            there = self._watch.describe(name)
        return _stack(there) if there else None

    def list(self, app: str) -> Sequence[Stack]:
        """Every stack tagged `fearless:app` = `app`, oldest first."""
        with explained("listing stacks"):
            pages = self._api.get_paginator("describe_stacks").paginate()
            stacks = [_stack(there) for page in pages for there in page["Stacks"]]
        ours = [stack for stack in stacks if stack.tags.get("fearless:app") == app]
        return sorted(ours, key=lambda stack: stack.created)

    def create(
        self, release: Release, template: str, parameters: Mapping[str, str], report: Report
    ) -> Stack:
        """Create the stack, or go on where an interrupted run stopped, until it is complete.

        Raises Refused when a stack of that name belongs to something else, and FearlessError
        with the first failed resource's reason when CloudFormation gives up.
        """
        with explained(f"creating stack {release.stack_name}"):
            there = self._watch.describe(release.stack_name)
            if there:
                _check_owner(release, there)
                there = self._clear(there, report)
            if there is None or there["StackStatus"] == "REVIEW_IN_PROGRESS":
                stack_id = self._execute(release, template, parameters, there, report)
                self._await_complete(stack_id, report)
            else:
                stack_id = str(there["StackId"])
                if there["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
                    report.line(f"stack {release.stack_name} is {there['StackStatus']}: following")
                    self._await_complete(stack_id, report)
            if release.kind == "release":
                self._protect(stack_id)
            return _stack(self._watch.existing(stack_id))

    def delete(self, stack: Stack, report: Report) -> None:
        """Lift the stack's protections and delete exactly that stack id; wait until it is gone.

        Raises Refused when it is not ours, FearlessError naming the resource that stays.
        """
        if not stack.id.startswith("arn:"):
            raise Refused(f"{stack.id!r} is no stack id: stacks are deleted by id, never by name")
        with explained(f"deleting stack {stack.name}"):
            there = self._watch.describe(stack.id)
            if there is None or there["StackStatus"] == "DELETE_COMPLETE":
                report.line(f"stack {stack.name} is already gone")
                return
            app, expected = _tags(there).get("fearless:app"), stack.tags.get("fearless:app")
            if not app or app != expected:
                raise Refused(
                    f"stack {stack.id} is tagged fearless:app = {app!r}, not {expected!r}: "
                    "it is not deleted"
                )
            self._remove(there, report)

    # ------------------------------------------------------------------ creating

    def _clear(self, there: dict[str, Any], report: Report) -> dict[str, Any] | None:
        """Remove what an attempt that never completed left; `there` unless it is gone now."""
        name, status = there["StackName"], there["StackStatus"]
        if status == "DELETE_IN_PROGRESS":
            report.line(f"stack {name} is being deleted: waiting until it is gone")
        elif status in LEFTOVER:
            if status == "DELETE_FAILED" and ever_complete(self._watch.events(there["StackId"])):
                raise Refused(
                    f"stack {name} was complete once and is half deleted "
                    f"({there.get('StackStatusReason') or status}): finish deleting it first "
                    "(`doit retire`, or `doit drop` for a dev stack)"
                )
            report.line(f"stack {name} never completed ({status}): deleting it to make it anew")
        else:
            return there
        self._remove(there, report)
        return None

    def _execute(
        self,
        release: Release,
        template: str,
        parameters: Mapping[str, str],
        there: dict[str, Any] | None,
        report: Report,
    ) -> str:
        """Have a change set made from nothing, show it, execute it; the stack's id."""
        from botocore.exceptions import ClientError

        check_parameters(template, parameters)
        summary = self._api.get_template_summary(TemplateBody=template)
        needed = check_capabilities(summary, self._capabilities)
        content = json.dumps([template, sorted(parameters.items()), sorted(release.tags().items())])
        name = "fearless-" + hashlib.sha256(content.encode()).hexdigest()[:16]
        change = self._change_set(name, release.stack_name) if there else None
        if change and change["Status"] == "FAILED":
            self._api.delete_change_set(ChangeSetName=change["ChangeSetId"])
            change = None
        if change is None:
            made = self._api.create_change_set(
                StackName=release.stack_name,
                ChangeSetName=name,
                ChangeSetType="CREATE",
                TemplateBody=template,
                Parameters=[
                    {"ParameterKey": key, "ParameterValue": value}
                    for key, value in sorted(parameters.items())
                ],
                Tags=tag_list(release.tags()),
                Capabilities=needed,
                OnStackFailure="DELETE" if release.kind == "dev" else "ROLLBACK",
            )
            change = {"ChangeSetId": made["Id"], "StackId": made["StackId"]}
        change = self._planned(change["ChangeSetId"], str(change["StackId"]))
        report.line(what_it_makes(release.stack_name, change["Changes"], needed))
        if release.kind == "release":
            self._protect(str(change["StackId"]))
        if change["ExecutionStatus"] == "AVAILABLE":
            try:
                self._api.execute_change_set(ChangeSetName=change["ChangeSetId"])
            except ClientError as error:
                if code(error) not in ALREADY_EXECUTED:
                    raise
        return str(change["StackId"])

    def _planned(self, change_set_id: str, stack_id: str) -> dict[str, Any]:
        """The change set once CloudFormation has worked it out, with every change in it."""
        for _ in self._watch.looks(f"change set {change_set_id} is not ready"):
            change = self._change_set(change_set_id)
            if change is None:
                raise FearlessError(f"change set {change_set_id} is gone: somebody deleted it")
            if change["Status"] == "CREATE_COMPLETE":
                return change
            if change["Status"] == "FAILED":
                self._discard(stack_id)
                raise FearlessError(
                    f"CloudFormation does not accept the template: {change.get('StatusReason')}"
                )
        raise AssertionError("looks() ends by raising")

    def _discard(self, stack_id: str) -> None:
        """Delete a stack in review: nothing is in it yet."""
        self._api.update_termination_protection(
            StackName=stack_id, EnableTerminationProtection=False
        )
        self._api.delete_stack(StackName=stack_id)

    def _change_set(self, name: str, stack_name: str | None = None) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        query = {"ChangeSetName": name} | ({"StackName": stack_name} if stack_name else {})
        try:
            pages = list(self._api.get_paginator("describe_change_set").paginate(**query))
        except ClientError as error:
            if code(error) in ("ChangeSetNotFound", "ChangeSetNotFoundException"):
                return None
            raise
        changes = [change for page in pages for change in page.get("Changes", [])]
        return dict(pages[0], Changes=changes)

    def _await_complete(self, stack_id: str, report: Report) -> None:
        status, events = self._watch.follow(stack_id, "CREATE_IN_PROGRESS", report)
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return
        reason = root_cause(events) or "CloudFormation gives no reason"
        advice = "mend that and run the same command; what is left is deleted first"
        if not status.startswith(("CREATE", "ROLLBACK", "DELETE")):
            advice = "it was complete once and changed since: Fearless never updates a stack"
        raise FearlessError(f"stack {stack_name(stack_id)} is {status}: {reason} ({advice})")

    def _protect(self, stack_id: str) -> None:
        """Turn termination protection on, and verify it: CreateChangeSet cannot ask for it.

        Before the change set is executed, so that no complete stack is ever without.
        """
        if self._watch.existing(stack_id).get("EnableTerminationProtection"):
            return
        self._api.update_termination_protection(
            StackName=stack_id, EnableTerminationProtection=True
        )
        if not self._watch.existing(stack_id).get("EnableTerminationProtection"):
            raise FearlessError(
                f"stack {stack_name(stack_id)} has no termination protection although "
                "CloudFormation accepted the request for it"
            )

    # ------------------------------------------------------------------ deleting

    def _remove(self, there: Mapping[str, Any], report: Report) -> None:
        stack_id, name = str(there["StackId"]), there["StackName"]
        before: AbstractSet[str] = frozenset()
        groups = self._resources(stack_id, "AWS::AutoScaling::AutoScalingGroup")
        if there["StackStatus"] != "DELETE_IN_PROGRESS":
            before = {event["EventId"] for event in self._watch.events(stack_id)}
            if there.get("EnableTerminationProtection"):
                self._api.update_termination_protection(
                    StackName=stack_id, EnableTerminationProtection=False
                )
            self._unprotect_tables(stack_id, report)
            self._api.delete_stack(StackName=stack_id)
        status, events = self._watch.follow(stack_id, "DELETE_IN_PROGRESS", report, before)
        if status != "DELETE_COMPLETE":
            reason = root_cause(events) or "CloudFormation gives no reason"
            raise FearlessError(f"stack {name} is {status}: {reason}")
        if groups:
            self._await_instances(groups, f"instances of {name} still run")

    def _await_instances(self, groups: Sequence[str], otherwise: str) -> None:
        """Return when no instance of those groups is left: the last ones are being drained."""
        filters = [
            {"Name": "tag:aws:autoscaling:groupName", "Values": list(groups)},
            {"Name": "instance-state-name", "Values": ["pending", "running", "shutting-down"]},
        ]
        for _ in self._watch.looks(otherwise):
            if not self._cloud.client("ec2").describe_instances(Filters=filters)["Reservations"]:
                return

    def _resources(self, stack_id: str, kind: str) -> Sequence[str]:
        """The physical ids of a stack's resources of one type."""
        pages = self._api.get_paginator("list_stack_resources").paginate(StackName=stack_id)
        return [
            str(resource["PhysicalResourceId"])
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == kind and resource.get("PhysicalResourceId")
        ]

    def _unprotect_tables(self, stack_id: str, report: Report) -> None:
        """Turn deletion protection off for the tables in that stack, and for no others."""
        from botocore.exceptions import ClientError

        tables = self._cloud.client("dynamodb")
        for table in self._resources(stack_id, "AWS::DynamoDB::Table"):
            try:
                if not tables.describe_table(TableName=table)["Table"].get(
                    "DeletionProtectionEnabled"
                ):
                    continue
                tables.update_table(TableName=table, DeletionProtectionEnabled=False)
                for _ in self._watch.looks(f"table {table} is not ACTIVE"):
                    if tables.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE":
                        break
            except ClientError as error:
                if code(error) != "ResourceNotFoundException":
                    raise
                continue
            report.line(f"deletion protection of table {table} is off")


def _check_owner(release: Release, there: Mapping[str, Any]) -> None:
    """A release owns the stack of its SHA; a dev stack stays with its branch."""
    tags, ours = _tags(there), release.tags()
    if not tags and there["StackStatus"] == "REVIEW_IN_PROGRESS":
        return
    owner = "fearless:branch" if release.kind == "dev" else "fearless:sha"
    for key in ("fearless:app", "fearless:kind", owner):
        if tags.get(key) != ours.get(key):
            raise Refused(
                f"there is a stack {there['StackName']} already, and its tag {key} is "
                f"{tags.get(key)!r}, not {ours.get(key)!r}: delete it, or give releases "
                "another name with the `stack_name` hook"
            )


def _tags(there: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in there.get("Tags", [])}


def _stack(there: Mapping[str, Any]) -> Stack:
    tags = _tags(there)
    return Stack(
        name=there["StackName"],
        id=there["StackId"],
        status=there["StackStatus"],
        kind=tags.get("fearless:kind", ""),
        release=tags.get("fearless:release", ""),
        sha=tags.get("fearless:sha", ""),
        created=there["CreationTime"],
        outputs={out["OutputKey"]: out["OutputValue"] for out in there.get("Outputs", [])},
        tags=tags,
    )
