"""One bake: a folder with all that goes into the machine, and packer's run over it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless import docker_archive, oci
from fearless.builtin.packer import command, manifest, process, tags
from fearless.builtin.packer.temporary import Temporary
from fearless.errors import ConfigError
from fearless.interfaces import Image, Release, Report

if TYPE_CHECKING:
    from fearless.project import Project

INIT_TIMEOUT = 600
"""Seconds in which packer must have fetched its plugins."""


@dataclass(frozen=True)
class Machine:
    """The machine that bakes and what it becomes, as `packer/ami.pkr.hcl` names it."""

    region: str
    source_ami: str
    instance_type: str
    volume_size: int
    log_driver: str
    ssh_user: str
    ssh_port: int
    subnet: str | None
    security_group: str | None
    processes: tuple[str, ...] = ("web",)

    def inputs(self) -> dict[str, Any]:
        """What of it makes another machine image; where and how it is reached does not."""
        return {
            "source_ami": self.source_ami,
            "volume_size": self.volume_size,
            "log_driver": self.log_driver,
            "processes": list(self.processes),
        }


class Bake:
    """`work` is an empty folder that is removed afterwards; the log is beside it."""

    def __init__(
        self,
        project: Project,
        machine: Machine,
        release: Release,
        images: Sequence[Image],
        inputs: str,
        work: Path,
        report: Report,
    ) -> None:
        self.project = project
        self.machine = machine
        self.release = release
        self.images = images
        self.work = work
        self.report = report
        self.tags = tags.of(release, inputs, images)
        self.name = f"{release.app}-{release.sha[:12]}-{inputs[:12]}-{secrets.token_hex(4)}"
        self.log = work.parent / "packer.log"
        self._folder = work / "packer"
        self._archives = work / "images"
        self._manifest = work / "manifest.json"
        self._key = work / "key"

    def stage(self, version: command.Version) -> None:
        """Put the project's `packer/` and every container image into the folder.

        Raises FearlessError when an image cannot be pulled or is not whole.
        """
        source = self.project.ops / "packer"
        if not (source / "ami.pkr.hcl").is_file():
            raise ConfigError(f"there is no {source / 'ami.pkr.hcl'}: `fearless init` writes one")
        shutil.copytree(source, self._folder)
        if version < command.PLUGINS:
            (self._folder / command.PLUGINS_FILE).unlink(missing_ok=True)
        self._archives.mkdir()
        for number, image in enumerate(self.images, 1):
            name = f"{image.repository}:{image.tag}"
            self.report.progress("bake", number, len(self.images), name)
            layout = oci.Layout.create(self.work / "layout")
            self.project.registry.pull(image, layout.root)
            found = layout.verify(image.digest).config.digest
            if found != image.image_id:
                raise oci.CorruptImage(
                    f"{image.reference}: its id is {found}, and {image.image_id} was to be baked"
                )
            docker_archive.write(layout, image.digest, self._archives / f"{number}.tar", (name,))
            shutil.rmtree(layout.root)

    def fetch_plugins(self, packer: str, env: Mapping[str, str]) -> None:
        """Have packer 1.7 or newer fetch the plugins it lacks."""
        argv = command.init(packer, str(self._folder))
        process.run(argv, env=env, log=self.log, report=self.report, timeout=INIT_TIMEOUT)

    def run(
        self,
        packer: str,
        env: Mapping[str, str],
        temporary: Temporary,
        given: Mapping[str, Any],
        *,
        timeout: float,
    ) -> str:
        """Have packer make the machine image; its id. `given` are more variables."""
        machine = self.machine
        temporary.key_pair(self.name, self._key)
        group = machine.security_group or temporary.security_group(
            self.name, machine.subnet, machine.ssh_port
        )
        file = self.work / "fearless.pkrvars.json"
        file.write_text(command.variables({**self.variables(temporary.tags, group), **given}))
        argv = command.build(packer, str(self._folder), str(file))
        process.run(argv, env=env, log=self.log, report=self.report, timeout=timeout)
        return manifest.machine_image(self._manifest, machine.region)

    def variables(self, temporary_tags: Mapping[str, str], group: str) -> dict[str, Any]:
        """What `packer/ami.pkr.hcl` is told of this bake; `group` is the security group's id."""
        return asdict(self.machine) | {
            "name": self.name,
            "security_group": group,
            "key_pair": self.name,
            "key_file": str(self._key),
            "tags": self.tags,
            "temporary_tags": dict(temporary_tags),
            "archives": str(self._archives),
            "images": [image.image_id for image in self.images],
            "image": to_run(self.release, self.images).image_id,
            "manifest": str(self._manifest),
        }


def to_run(release: Release, images: Sequence[Image]) -> Image:
    """The image that was built from the release's commit; the first when none was."""
    return next((image for image in images if image.tag == release.sha), images[0])
