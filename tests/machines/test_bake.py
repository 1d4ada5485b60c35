"""A real bake and a real boot: packer logs in to a machine, what comes of it starts alone.

EC2 is moto's, and it has no machines. So one is booted where packer is told to log in, and where
the baker has EC2 start an instance, what was baked is booted with no network at all; the console
that EC2 shows is that machine's own. packer, SSH, `packer/`, systemd and Docker are real.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from fearless.builtin.packer.baker import PackerBaker
from fearless.errors import BootFailed
from fearless.interfaces import Image, MachineImage, Release
from fearless.local.registry import LocalRegistry
from fearless.testing.contracts.given import a_release
from fearless.testing.fakes import SilentReport
from tests import moto_ec2
from tests.builtin.packer.conftest import PackerProject, need_packer
from tests.commands import ROOT
from tests.machines import application, machine
from tests.moto_ec2 import BASE, Ec2Cloud, encoded

pytestmark = pytest.mark.slow


class Machines:
    """The machines behind EC2: one after the other, on the one disk that was baked."""

    def __init__(self, directory: Path, cloud: Ec2Cloud) -> None:
        self.directory = directory
        self.baked = directory / "root"
        self.cloud = cloud
        self.stack = ExitStack()
        self.instances: dict[str, machine.Machine] = {}
        cloud.after["CreateKeyPair"] = self._authorize
        cloud.after["RunInstances"] = self._boot
        cloud.after["TerminateInstances"] = self._terminate
        cloud.answers["GetConsoleOutput"] = self._console

    @property
    def newest(self) -> machine.Machine:
        """The one that was started last."""
        return list(self.instances.values())[-1]

    def _authorize(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        """As cloud-init does with an instance's key pair."""
        pairs = self.cloud.ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
        folder = self.baked / "home/admin/.ssh"
        folder.mkdir(exist_ok=True)
        (folder / "authorized_keys").write_text(f"{pairs[0]['PublicKey']}\n")

    def _boot(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        """As cloud-init does with an instance's user data: `write_files` alone."""
        (instance,) = answer["Instances"]
        data = yaml.safe_load(base64.b64decode(request["UserData"]))
        for file in data["write_files"]:
            (self.baked / file["path"].lstrip("/")).write_text(file["content"])
        id = instance["InstanceId"]
        console = self.directory / f"{id}.console"
        self.instances[id] = self.stack.enter_context(machine.booted(self.baked, console))

    def _terminate(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        for ended in answer["TerminatingInstances"]:
            if ended["InstanceId"] in self.instances:
                self.instances[ended["InstanceId"]].kill()

    def _console(self, request: dict[str, Any]) -> dict[str, Any]:
        return encoded(self.instances[request["InstanceId"]].said())


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    machine.need()
    need_packer()
    with machine.disk(tmp_path_factory.mktemp("machines")) as made:
        yield made


@pytest.fixture(scope="module")
def cloud(directory: Path) -> Iterator[Ec2Cloud]:
    with moto_ec2.running(directory) as url:
        yield Ec2Cloud(url)


@pytest.fixture(scope="module")
def machines(directory: Path, cloud: Ec2Cloud) -> Iterator[Machines]:
    machine.make_root(directory / "root")
    made = Machines(directory, cloud)
    with made.stack:
        yield made


@pytest.fixture(scope="module")
def project(directory: Path) -> PackerProject:
    """This repository's own `packer/`."""
    made = PackerProject(directory / "project")
    made.registry = LocalRegistry(made)  # type: ignore[arg-type]
    shutil.copytree(ROOT / "packer", made.root / "packer")
    return made


@pytest.fixture(scope="module")
def release() -> Release:
    return a_release("shop")


@pytest.fixture(scope="module")
def images(project: PackerProject, release: Release, directory: Path) -> list[Image]:
    """The release's own, and one whose application is never well."""
    well = application.image(directory / "well", release)
    ill = application.image(directory / "ill", a_release("shop"), status=503)
    registry = project.registry
    assert isinstance(registry, LocalRegistry)
    return [registry.push(well), registry.push(ill)]


def baker(project: PackerProject, cloud: Ec2Cloud, port: int = 22) -> PackerBaker:
    return PackerBaker(
        project,  # type: ignore[arg-type]
        cloud,
        BASE,
        ssh_host="127.0.0.1",
        ssh_port=port,
        poll=0.1,
        boot_timeout=30,
    )


@pytest.fixture(scope="module")
def baked(
    project: PackerProject,
    cloud: Ec2Cloud,
    release: Release,
    images: list[Image],
    machines: Machines,
    directory: Path,
) -> MachineImage:
    with (
        machine.booted(machines.baked, directory / "bakes.console") as bakes,
        bakes.forwarded(22) as port,
    ):
        made = baker(project, cloud, port).bake(release, images, SilentReport())
        bakes.stop()
    return made


def nobody_logs_in_and_nothing_is_left_of_the_bake(machines: Machines) -> None:
    root = machines.baked
    assert not list(root.glob("home/*/.ssh/authorized_keys"))
    assert not list(root.glob("etc/ssh/ssh_host_*"))
    assert not (root / "var/tmp/fearless").exists()
    assert (root / "etc/machine-id").read_text() == ""
    for unit in ("ssh.service", "ssh.socket", "sshd.service", "sshd.socket"):
        assert (root / "etc/systemd/system" / unit).readlink() == Path("/dev/null")


def it_boots_without_any_network(
    project: PackerProject,
    cloud: Ec2Cloud,
    release: Release,
    baked: MachineImage,
    machines: Machines,
    report: SilentReport,
) -> None:
    provider = baker(project, cloud)
    assert provider.find(release) is None
    seen: list[tuple[int, bytes]] = []
    cloud.before["TerminateInstances"] = lambda: seen.append(machines.newest.get(8080, "/healthz"))
    evidence = provider.boot_test(release, baked, report)
    assert evidence.startswith("/healthz answered 200 after ")
    assert seen == [(200, release.sha.encode())]
    assert provider.find(release) == baked
    assert cloud.left() == []


def one_whose_application_is_not_well_fails(
    project: PackerProject,
    cloud: Ec2Cloud,
    release: Release,
    images: list[Image],
    baked: MachineImage,
    machines: Machines,
    report: SilentReport,
) -> None:
    """The image that is run is the other one that was baked in."""
    provider = baker(project, cloud)
    provider.boot_timeout = 5
    settings = machines.baked / "etc/fearless/image.env"
    ran = settings.read_text()
    assert images[0].image_id in ran
    settings.write_text(ran.replace(images[0].image_id, images[1].image_id))
    cloud.before.clear()
    with pytest.raises(BootFailed) as failed:
        provider.boot_test(release, baked, report)
    assert "/healthz answered 503 for " in str(failed.value)
    assert "the application: 127.0.0.1" in str(failed.value)  # what it logged last
    assert cloud.left() == []


def test_a_bake_and_what_it_boots(
    project: PackerProject,
    cloud: Ec2Cloud,
    release: Release,
    images: list[Image],
    baked: MachineImage,
    machines: Machines,
    report: SilentReport,
) -> None:
    """One test, because a machine takes a minute to make: it is made once, wherever this runs."""
    nobody_logs_in_and_nothing_is_left_of_the_bake(machines)
    it_boots_without_any_network(project, cloud, release, baked, machines, report)
    one_whose_application_is_not_well_fails(
        project, cloud, release, images, baked, machines, report
    )
