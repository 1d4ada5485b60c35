"""The AMI baker: packer makes the machine image, EC2's tags say what it is."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fearless import oci
from fearless.builtin.packer import boot, command, process, tags
from fearless.builtin.packer.bake import Bake, Machine
from fearless.builtin.packer.images import Described, MachineImages
from fearless.builtin.packer.temporary import Temporary
from fearless.errors import FearlessError
from fearless.interfaces import Cloud, Image, MachineImage, Release, Report
from fearless.local.baker import folder_digests

if TYPE_CHECKING:
    from fearless.project import Project


LOOKS = 6
"""How often EC2 is asked for a new machine image's tags, which it may not know at once."""


class PackerBaker:
    """`[ami] use = "packer"`: bakes what the project's `packer/` says, where `cloud`'s EC2 is.

    A machine image is found once it has booted in a test, unless `boot_test` is false. packer's
    log is `.fearless/build/<sha>/packer.log`. Times are in seconds.
    """

    def __init__(
        self,
        project: Project,
        cloud: Cloud,
        source_ami: str,
        instance_type: str = "t3.small",
        volume_size: int = 16,
        log_driver: Literal["awslogs", "journald"] = "awslogs",
        ssh_user: str = "admin",
        ssh_host: str | None = None,
        ssh_port: int = 22,
        subnet: str | None = None,
        security_group: str | None = None,
        boot_test: bool = True,
        boot_subnet: str | None = None,
        boot_timeout: int = 300,
        timeout: int = 3600,
        poll: float = 5,
    ) -> None:
        self.project = project
        self.cloud = cloud
        self.machine = Machine(
            region=cloud.region,
            source_ami=source_ami,
            instance_type=instance_type,
            volume_size=volume_size,
            log_driver=log_driver,
            ssh_user=ssh_user,
            ssh_port=ssh_port,
            subnet=subnet,
            security_group=security_group,
        )
        self.ssh_host = ssh_host
        self.testing = boot_test
        self.boot_subnet = boot_subnet or subnet
        self.boot_timeout = boot_timeout
        self.timeout = timeout
        self.poll = poll
        self.sleep = time.sleep

    # ------------------------------------------------------------------- AmiBaker

    def find(self, release: Release) -> MachineImage | None:
        """The newest one of the release's app and SHA that was proven to boot."""
        wanted = {"fearless:app": release.app, "fearless:sha": release.sha, "state": "available"}
        found = [one for one in self._images.all(wanted) if tags.TESTED in tags.from_aws(one)]
        return _machine_image(found[-1]) if found else None

    def list(self, app: str) -> Sequence[MachineImage]:
        """Every machine image of the app, oldest first; also those that were not tested yet."""
        return [_machine_image(found) for found in self._images.all({"fearless:app": app})]

    def bake(self, release: Release, images: Sequence[Image], report: Report) -> MachineImage:
        """Have packer make it, unless one of the same inputs is there.

        Raises FearlessError, and leaves nothing behind, when it cannot be made.
        """
        ordered = sorted(images, key=lambda image: (image.repository, image.tag))
        inputs = self.inputs(release, ordered)
        build = self.project.directory / "build" / release.sha
        with oci.locked(build / ".ami.lock"):
            made = self._images.made_of(release.app, inputs)
            if made is not None:
                report.line(f"{made['ImageId']} has these inputs already")
            else:
                for left in build.glob(".bake-*"):
                    shutil.rmtree(left)
                with tempfile.TemporaryDirectory(dir=build, prefix=".bake-") as work:
                    made = self._bake(release, ordered, inputs, Path(work), report)
        self._images.require_imdsv2(made)
        if not self.testing and tags.TESTED not in tags.from_aws(made):
            self._images.mark(made["ImageId"], "not tested")
        return _machine_image(made)

    def discard(self, image: MachineImage) -> None:
        """Deregister it and delete its snapshots; already gone is fine."""
        self._images.discard(image.id, image.inputs)

    # ------------------------------------------------------------------- BootTest

    def boot_test(self, release: Release, image: MachineImage, report: Report) -> str:
        """Boot it with no network, and have it found when its application answers."""
        if not self.testing:
            return "not tested: [ami] boot_test = false"
        console = boot.Console(self._ec2, report, seconds=self.boot_timeout, poll=self.poll)
        with self._temporary(release, 2 * self.boot_timeout + boot.SPARE, report) as temporary:
            evidence = console.ask(
                temporary,
                image.id,
                boot.settings(self.project, release, self.cloud.region),
                self.project.app.health,
                instance_type=self.machine.instance_type,
                subnet=self.boot_subnet,
            )
        self._images.mark(image.id, evidence)
        return evidence

    # ------------------------------------------------------------------ internals

    def inputs(self, release: Release, images: Sequence[Image]) -> str:
        """The hash of all a machine image is made of: images, the files of `packer/`, settings."""
        made_of = {
            "app": release.app,
            "sha": release.sha,
            "images": sorted(image.reference for image in images),
            "packer": folder_digests(self.project.ops / "packer"),
            "machine": self.machine.inputs(),
        }
        return hashlib.sha256(oci.canonical(made_of)).hexdigest()

    def _bake(
        self,
        release: Release,
        images: Sequence[Image],
        inputs: str,
        work: Path,
        report: Report,
    ) -> Described:
        """What can fail at once is asked first; then images are pulled, then EC2 makes things."""
        reach = command.reach(self._ec2.meta.endpoint_url, self.ssh_host)
        packer, version = process.find()
        device = self._images.root_device(self.machine.source_ami)
        bake = Bake(self.project, self.machine, release, images, inputs, work, report)
        bake.stage(version)
        env = command.environment(
            os.environ, self.cloud.credentials().get_frozen_credentials(), self.cloud.region
        )
        if version >= command.PLUGINS:
            bake.fetch_plugins(packer, env)
        seconds = self.timeout + process.GRACE
        with self._temporary(release, seconds, report, makes=bake.name) as temporary:
            ami = bake.run(
                packer, env, temporary, {**reach, "root_device": device}, timeout=self.timeout
            )
        for _ in range(LOOKS):
            made = self._images.made_of(release.app, inputs)
            if made is not None and made["ImageId"] == ami:
                return made
            self.sleep(self.poll)
        raise FearlessError(
            f"packer made {ami}, and EC2 does not know it by the tags it was to have: "
            "packer/ami.pkr.hcl needs `tags = var.tags`"
        )

    def _temporary(
        self, release: Release, seconds: float, report: Report, makes: str = ""
    ) -> Temporary:
        return Temporary(self._ec2, release.app, seconds, report, poll=self.poll, makes=makes)

    @property
    def _ec2(self) -> Any:
        return self.cloud.client("ec2")

    @property
    def _images(self) -> MachineImages:
        return MachineImages(self._ec2)


def _machine_image(image: Described) -> MachineImage:
    return tags.read(tags.from_aws(image), str(image["ImageId"]))
