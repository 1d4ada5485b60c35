"""Auto-scaling groups made true: instances launched, watched, replaced, drained and stopped."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from fearless.errors import FearlessError
from fearless.local import source, world
from fearless.local.credentials import Credentials
from fearless.local.directory import Directory
from fearless.local.endpoint import Endpoint
from fearless.local.groups import Member, plan
from fearless.local.health import Health, Prober
from fearless.local.instance import Instance
from fearless.local.process import tail
from fearless.local.runtime import Prepare
from fearless.local.sockets import free_port
from fearless.local.trouble import Trouble
from fearless.local.world import Group, Launch, World

log = logging.getLogger(__name__)

GROUP_TAG = "aws:autoscaling:groupName"
IMAGE_TAG = "fearless:image"
LONGEST_DRAIN = 1.0
"""Seconds a target drains here at most: the app itself finishes what it was asked."""

KEPT = 20
"""Directories of ended instances that are kept, for their logs."""


class Fleet:
    """Every instance of every group."""

    def __init__(
        self,
        endpoint: Endpoint,
        directory: Directory,
        credentials: Credentials,
        prepare: Prepare,
    ) -> None:
        self.instances: dict[str, Instance] = {}
        self.troubles: dict[str, Trouble] = {}
        self.acted = False
        """True once it changed something that the emulator lists: what was read is old."""
        self._endpoint, self._directory = endpoint, directory
        self._credentials, self._prepare = credentials, prepare
        self._prober = Prober()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="prepare")

    def step(self, world: World, now: float) -> None:
        """Notice what happened to the instances and do the next thing for each group."""
        for instance in list(self.instances.values()):
            before = instance.state
            instance.step(now)
            if instance.member and instance.id not in world.instances and now > instance.seen:
                instance.fail("terminated through the EC2 API")
            if instance.state == "running":
                self._probe(instance, world, now)
            if instance.state == "dead":
                self._bury(instance, world, now, wanted=before in ("preparing", "running"))
        for group in world.groups.values():
            self._reconcile(group, world, now)
        for instance in self.instances.values():
            if instance.member and instance.group not in world.groups:
                self._retire(instance, world, now)
        self._deregister_strangers(world)

    # ------------------------------------------------------------------ one group

    def _reconcile(self, group: Group, world: World, now: float) -> None:
        members = [i for i in self.instances.values() if i.group == group.name and i.member]
        wanted = self._wanted_image(members, world)
        trouble = self.troubles.setdefault(group.name, Trouble())
        todo = plan(group.desired, wanted, [Member(m.id, m.image, m.healthy) for m in members])
        for id in todo.retire:
            self._retire(self.instances[id], world, now)
        for member in members:
            if group.checks_balancer and self._hopeless(member, group, now):
                member.fail("replaced: unhealthy for longer than the group's grace period")
        news = wanted is not None and trouble.image not in ("", wanted)
        if todo.launch and (news or now >= trouble.until):
            for _ in range(todo.launch):
                try:
                    self._launch(group, world, now)
                except (FearlessError, ClientError, LookupError, ValueError) as error:
                    self._failed(group.name, str(error.args[0] or error), now)
                    break

    def _wanted_image(self, members: Iterable[Instance], world: World) -> str | None:
        """The image a dev stack's parameter names; None when there is none or it is not valid."""
        for member in members:
            value = world.images.get(member.env.get("FEARLESS_STACK", ""))
            if value and member.env.get("FEARLESS_KIND") == "dev":
                try:
                    return source.override(self._directory.root, value).reference
                except source.NotRunnable as error:
                    before = self.troubles.get(member.group, Trouble())
                    self.troubles[member.group] = replace(before, reason=str(error.args[0]))
        return None

    def _hopeless(self, member: Instance, group: Group, now: float) -> bool:
        bad = any(h.state == "unhealthy" for h in member.health.values())
        never = member.state == "running" and not member.served
        return (bad or never) and now - member.launched > group.grace

    def _launch(self, group: Group, seen: World, now: float) -> None:
        self.acted = True
        launch = world.read_launch(self._endpoint.client, group)
        what = self._source(launch, seen)
        index = sum(1 for i in self.instances.values() if i.group == group.name)
        subnet = group.subnets[index % len(group.subnets)] if group.subnets else ""
        made = self._run_instances(group, launch, what.reference, subnet)
        id = made["InstanceId"]
        port = free_port({i.port for i in self.instances.values()})
        role = world.read_role(self._endpoint.client("iam"), launch.profile)
        local = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "AWS_ENDPOINT_URL": self._endpoint.url,
            "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
            "AWS_EC2_METADATA_DISABLED": "true",
            "FEARLESS_INSTANCE": id,
            **(self._credentials.grant(id, role) if role else {}),
        }
        home = self._directory.instances / id
        files = source.user_data_files(launch.user_data)
        env = source.environment({}, launch.env, what.env, local)

        def prepare() -> Any:
            source.write_files(files, home / "root")
            return self._prepare(what, home)

        home.mkdir(parents=True, exist_ok=True)
        self.instances[id] = Instance(
            id=id,
            group=group.name,
            zone=made.get("Placement", {}).get("AvailabilityZone", "us-east-1a"),
            port=port,
            image=what.reference,
            env=env,
            home=home,
            directory=self._directory.root,
            launched=now,
            seen=now + 5,
            preparing=self._pool.submit(prepare),
        )
        log.info("%s: launched %s on port %s: %s", group.name, id, port, what.reference)

    def _source(self, launch: Launch, world: World) -> source.Source:
        env = launch.env
        value = world.images.get(env.get("FEARLESS_STACK", ""))
        if value and env.get("FEARLESS_KIND") == "dev":
            return source.override(self._directory.root, value)
        return source.machine_image(self._directory.root, launch.image_id)

    def _run_instances(
        self, group: Group, launch: Launch, image: str, subnet: str
    ) -> dict[str, Any]:
        tags = {**launch.tags, GROUP_TAG: group.name, IMAGE_TAG: image}
        arguments: dict[str, Any] = {
            "ImageId": launch.image_id,
            "InstanceType": launch.instance_type,
            "UserData": launch.user_data,
            "TagSpecifications": [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        }
        if launch.security_groups:
            arguments["SecurityGroupIds"] = list(launch.security_groups)
        if launch.profile:
            arguments["IamInstanceProfile"] = {"Name": launch.profile}
        if subnet:
            arguments["SubnetId"] = subnet
        ec2 = self._endpoint.client("ec2")
        return dict(ec2.run_instances(MinCount=1, MaxCount=1, **arguments)["Instances"][0])

    # ------------------------------------------------------------------ one instance

    def _probe(self, instance: Instance, world: World, now: float) -> None:
        group = world.groups.get(instance.group)
        for arn in group.targets if group else ():
            target_group = world.target_groups.get(arn)
            if target_group is None:
                continue
            if arn not in instance.health:
                target = {"Id": instance.id, "Port": instance.port}
                self.acted = True
                elb = self._endpoint.client("elbv2")
                elb.register_targets(TargetGroupArn=arn, Targets=[target])
                instance.health[arn] = Health()
            before = instance.health[arn]
            after = self._prober.step(
                instance.id, arn, instance.port, target_group.check, before, now
            )
            instance.health[arn] = after
            if after.state != before.state:
                log.info("%s: %s %s", instance.id, after.state, after.description)
        if not instance.served and instance.healthy and now - instance.launched > 0.5:
            instance.served = True
            self._recovered(instance.group)

    def _retire(self, instance: Instance, world: World, now: float) -> None:
        """Take it out of its target groups, then stop it."""
        delays = [world.target_groups[a].delay for a in instance.health if a in world.target_groups]
        serving = instance.healthy and bool(delays)
        self._deregister(instance, world)
        instance.drain(min(LONGEST_DRAIN, *delays) if serving else 0.0, now)
        log.info("%s: draining", instance.id)

    def _deregister(self, instance: Instance, world: World) -> None:
        self.acted = True
        for arn in instance.health:
            if arn in world.target_groups:
                self._endpoint.client("elbv2").deregister_targets(
                    TargetGroupArn=arn, Targets=[{"Id": instance.id}]
                )

    def _bury(self, instance: Instance, world: World, now: float, wanted: bool) -> None:
        del self.instances[instance.id]
        self._prober.forget(instance.id)
        self._credentials.revoke(instance.id)
        if wanted:
            log.warning("%s: %s", instance.id, instance.reason)
            self._deregister(instance, world)
            self._failed(
                instance.group,
                f"{instance.id}: {instance.reason}",
                now,
                lines=tuple(tail(instance.log, 10)),
                image=instance.image,
                in_a_row=not instance.served,
            )
        self.acted = True
        if instance.id in world.instances:
            self._endpoint.client("ec2").terminate_instances(InstanceIds=[instance.id])
        self._prune()

    def _failed(self, group: str, reason: str, now: float, **about: Any) -> None:
        before = self.troubles.get(group, Trouble())
        self.troubles[group] = before.after(reason, now, **about)
        log.warning("%s: %s", group, reason)

    def _recovered(self, group: str) -> None:
        self.troubles[group] = self.troubles.get(group, Trouble()).over()

    def _prune(self) -> None:
        ended = [d for d in self._directory.instances.iterdir() if d.name not in self.instances]
        ended.sort(key=lambda directory: directory.stat().st_mtime)
        for directory in ended[:-KEPT]:
            shutil.rmtree(directory, ignore_errors=True)

    def _deregister_strangers(self, world: World) -> None:
        """Targets nobody runs, as a restart leaves them behind."""
        for group in world.target_groups.values():
            gone = [t for t in group.registered if t.startswith("i-") and t not in self.instances]
            if gone:
                self.acted = True
                self._endpoint.client("elbv2").deregister_targets(
                    TargetGroupArn=group.arn, Targets=[{"Id": id} for id in gone]
                )

    # ------------------------------------------------------------------ all of it

    def targets(self) -> dict[str, list[str]]:
        """Target group -> the `host:port` of who gets requests.

        The healthy ones; when none is, those that were before, as ELB fails open.
        """
        healthy: dict[str, list[str]] = {}
        failing: dict[str, list[str]] = {}
        for instance in self.instances.values():
            for arn, health in instance.health.items() if instance.state == "running" else ():
                table = {"healthy": healthy, "unhealthy": failing}.get(health.state)
                if table is not None:
                    table.setdefault(arn, []).append(f"127.0.0.1:{instance.port}")
        return {**failing, **healthy}

    def stop(self, world: World | None, seconds: float) -> None:
        """Stop every instance, all at once, and terminate them."""
        deadline = time.monotonic() + seconds
        for instance in self.instances.values():
            instance.terminate(time.monotonic())
        while time.monotonic() < deadline:
            for instance in self.instances.values():
                instance.step(time.monotonic())
            if all(instance.state == "dead" for instance in self.instances.values()):
                break
            time.sleep(0.02)
        for instance in self.instances.values():
            instance.kill()
            if world is not None:
                self._deregister(instance, world)
        if world is not None and self.instances:
            ec2 = self._endpoint.client("ec2")
            ec2.terminate_instances(InstanceIds=list(self.instances))
        self._prober.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
