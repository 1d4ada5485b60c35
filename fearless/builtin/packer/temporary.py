"""What EC2 is asked for minutes only: tagged, so that what a killed process left is removed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from fearless.builtin.aws import code, explained
from fearless.builtin.packer import images, tags
from fearless.errors import FearlessError
from fearless.interfaces import Report
from fearless.owner import Owner

TEMPORARY = "fearless:temporary"
"""The app it is for. Whatever has this tag, a process made for itself alone."""

OWNER = "fearless:owner"
UNTIL = "fearless:until"
MAKES = "fearless:makes"
"""The name of the machine image that an instance is for, which is half-made with it."""

_ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
_GONE = 600
"""Seconds an instance may take to be gone."""


class Temporary:
    """Instances, key pairs and security groups that are gone when the `with` block is left.

    Entering it removes what processes left that are dead, or whose time was up (`seconds` after
    they began). One that may be alive, on this machine or another, is left alone.
    """

    def __init__(
        self,
        client: Any,
        app: str,
        seconds: float,
        report: Report,
        *,
        poll: float = 5,
        makes: str = "",
        me: Owner | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self.app = app
        self.report = report
        self.poll = poll
        self.me = me or Owner.me()
        self.clock = clock
        self.sleep = sleep
        owner = "|".join((self.me.host[:60], self.me.place, str(self.me.pid), self.me.start))
        self.tags = {
            TEMPORARY: app,
            OWNER: f"{owner}|{self.me.id}",
            UNTIL: str(int(clock() + seconds)),
            "Name": f"{app} (temporary)",
        } | ({MAKES: makes} if makes else {})

    def __enter__(self) -> Temporary:
        self.clean()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.clean()
        except FearlessError as left:
            if error is None:
                raise
            self.report.line(f"warning: {left}; the next bake removes what is left")

    # ----------------------------------------------------------------------- making

    def key_pair(self, name: str, into: Path) -> None:
        """Make a key pair; its private key goes to the file `into`, which only we may read."""
        with explained(f"making the key pair {name}"):
            made = self.client.create_key_pair(
                KeyName=name, KeyType="ed25519", TagSpecifications=self._specified("key-pair")
            )
        handle = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(made["KeyMaterial"].rstrip("\n") + "\n")

    def security_group(self, name: str, subnet: str | None, ssh_port: int | None) -> str:
        """Make one that lets nothing in but SSH, or nothing at all, and then nothing out either.

        Raises FearlessError when it cannot be made so.
        """
        with explained(f"making the security group {name}"):
            group = self.client.create_security_group(
                GroupName=name,
                Description=f"Fearless: {name}",
                VpcId=self._vpc(subnet),
                TagSpecifications=self._specified("security-group"),
            )["GroupId"]
            if ssh_port is not None:
                self.client.authorize_security_group_ingress(
                    GroupId=group,
                    IpPermissions=[
                        {
                            "IpProtocol": "tcp",
                            "FromPort": ssh_port,
                            "ToPort": ssh_port,
                            "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
                        }
                    ],
                )
                return str(group)
            (made,) = self._groups(group)
            if made["IpPermissionsEgress"]:
                self.client.revoke_security_group_egress(
                    GroupId=group, IpPermissions=made["IpPermissionsEgress"]
                )
            (made,) = self._groups(group)
        if made["IpPermissionsEgress"] or made["IpPermissions"]:
            raise FearlessError(f"security group {group} still lets something through")
        return str(group)

    def instance(self, **wanted: Any) -> str:
        """Start one instance; its id."""
        with explained(f"starting an instance of {wanted.get('ImageId')}"):
            answer = self.client.run_instances(
                MinCount=1,
                MaxCount=1,
                TagSpecifications=self._specified("instance") + self._specified("volume"),
                **wanted,
            )
        return str(answer["Instances"][0]["InstanceId"])

    # ---------------------------------------------------------------------- removing

    def clean(self) -> None:
        """Remove what is ours, and what was left behind; what is gone already is fine."""
        with explained("removing what was made for a while"):
            instances = self._left(_instances(self.client, self._filter()))
            ids = [instance["InstanceId"] for instance in instances]
            if ids:
                self.client.terminate_instances(InstanceIds=ids)
                self._wait_gone(ids)
            for pair in self._left(
                self.client.describe_key_pairs(Filters=self._filter())["KeyPairs"]
            ):
                self.client.delete_key_pair(KeyName=pair["KeyName"])
            for group in self._left(_groups(self.client, self._filter())):
                self._delete_group(group["GroupId"])
            made = {tags.from_aws(one).get(MAKES, "") for one in instances} - {""}
            for name in sorted(made | {self.tags.get(MAKES, "")} - {""}):
                self._remove_half_made(name)

    def _delete_group(self, group: str) -> None:
        """An instance that is gone may hold it for some seconds more."""
        from botocore.exceptions import ClientError

        deadline = self.clock() + _GONE
        while True:
            try:
                images.ignoring(
                    ("InvalidGroup.NotFound",), self.client.delete_security_group, GroupId=group
                )
                return
            except ClientError as error:
                if code(error) != "DependencyViolation" or self.clock() > deadline:
                    raise
            self.sleep(self.poll)

    def _remove_half_made(self, name: str) -> None:
        """A machine image whose tags say what it is, is complete: it stays."""
        for image in self.client.describe_images(
            Owners=["self"], Filters=tags.filters({"name": name})
        )["Images"]:
            if tags.INPUTS not in tags.from_aws(image):
                images.remove(self.client, image)

    def _left(self, found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        now = self.clock()
        return [one for one in found if abandoned(tags.from_aws(one), self.tags, self.me, now)]

    def _wait_gone(self, ids: list[str]) -> None:
        deadline = self.clock() + _GONE
        while _instances(self.client, [{"Name": "instance-id", "Values": ids}]):
            if self.clock() > deadline:
                raise FearlessError(f"{', '.join(ids)} would not be terminated in {_GONE} s")
            self.sleep(self.poll)

    # --------------------------------------------------------------------- internals

    def _vpc(self, subnet: str | None) -> str:
        if subnet:
            answer = self.client.describe_subnets(SubnetIds=[subnet])["Subnets"]
        else:
            wanted = tags.filters({"is-default": "true"})
            answer = self.client.describe_vpcs(Filters=wanted)["Vpcs"]
        if not answer:
            raise FearlessError(
                f"there is no default VPC in {self.client.meta.region_name}: "
                "set `subnet` under [ami] in release.toml"
            )
        return str(answer[0]["VpcId"])

    def _groups(self, group: str) -> list[dict[str, Any]]:
        return _groups(self.client, [{"Name": "group-id", "Values": [group]}])

    def _filter(self) -> list[dict[str, Any]]:
        return tags.filters({TEMPORARY: self.app})

    def _specified(self, kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tags.to_aws(self.tags)}]


def abandoned(found: Mapping[str, str], mine: Mapping[str, str], me: Owner, now: float) -> bool:
    """Whether something is this process's own, or a dead one's, or its time was up. Pure but
    for asking the kernel whether a process of this machine lives."""
    if found.get(OWNER) == mine[OWNER]:
        return True
    until = found.get(UNTIL, "")
    if until.isdigit() and int(until) < now:
        return True
    parts = found.get(OWNER, "").split("|")
    if len(parts) != 5 or not parts[2].isdigit():
        return False
    return me.dead({"place": parts[1], "pid": parts[2], "start": parts[3]})


def _instances(client: Any, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are not gone yet."""
    pages = client.get_paginator("describe_instances").paginate(
        Filters=[*wanted, *tags.filters({"instance-state-name": _ALIVE})]
    )
    return [i for page in pages for r in page["Reservations"] for i in r["Instances"]]


def _groups(client: Any, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pages = client.get_paginator("describe_security_groups").paginate(Filters=wanted)
    return [group for page in pages for group in page["SecurityGroups"]]
