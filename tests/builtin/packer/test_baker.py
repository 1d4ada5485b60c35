"""Baking: what is refused at once, what packer fails with, and what is left when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from fearless.builtin.packer import process
from fearless.builtin.packer.baker import PackerBaker
from fearless.builtin.packer.temporary import MAKES, Temporary
from fearless.errors import ConfigError, FearlessError, NotAuthorised
from fearless.interfaces import Image, Release
from fearless.owner import Owner
from fearless.testing.contracts.given import explained
from fearless.testing.emulator import free_port
from fearless.testing.fakes import SilentReport
from tests.builtin.packer.conftest import Make, PackerProject, need_packer
from tests.commands import ROOT
from tests.moto_ec2 import BASE, Ec2Cloud

SECRET = "not on any command line"

BAKE = """
import sys
from pathlib import Path
from fearless.interfaces import Image, Release
from fearless.local.registry import LocalRegistry
from fearless.builtin.packer.baker import PackerBaker
from fearless.testing.fakes import SilentReport
from tests.builtin.packer.conftest import PackerProject
from tests.moto_ec2 import BASE, Ec2Cloud

root, url, port, release, image = sys.argv[1:]
project = PackerProject(Path(root))
project.registry = LocalRegistry(project)
baker = PackerBaker(project, Ec2Cloud(url), BASE, ssh_host="127.0.0.1", ssh_port=int(port))
baker.bake(eval(release), [eval(image)], SilentReport())
"""
"""Bakes in a process of its own, which can be killed."""


def until(there: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def leftovers(project: PackerProject) -> list[str]:
    build = project.directory / "build"
    return [str(path) for path in build.rglob(".bake-*")] if build.is_dir() else []


# ------------------------------------------------------------------- refused at once


def test_without_packer(
    make: Make,
    release: Release,
    image: Image,
    report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
    cloud: Ec2Cloud,
    project: PackerProject,
) -> None:
    monkeypatch.setenv("PATH", str(project.root))
    with explained() as failed:
        make().bake(release, [image], report)
    assert "there is no packer here: install packer 1.6.6 or newer" in str(failed.value)
    assert leftovers(project) == []


@pytest.mark.parametrize(
    ("said", "why"), [("Packer v1.4.5", "1.4.5 is too old"), ("cracklib", "not HashiCorp's")]
)
def test_another_packer(
    said: str,
    why: str,
    make: Make,
    release: Release,
    image: Image,
    report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
    project: PackerProject,
) -> None:
    program(project.root / "bin" / "packer", f"#!/bin/sh\necho '{said}'\n")
    monkeypatch.setenv("PATH", f"{project.root}/bin:{os.environ['PATH']}")
    with explained() as failed:
        make().bake(release, [image], report)
    assert why in str(failed.value)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("ami", ["ami-00000000000000000", "debian-12"])
def test_a_base_that_is_not_there(
    ami: str, make: Make, release: Release, image: Image, report: SilentReport
) -> None:
    need_packer()
    with pytest.raises(ConfigError, match=f"source_ami = '{ami}': there is no such machine image"):
        make(source_ami=ami).bake(release, [image], report)


def test_an_emulator_is_never_left_to_invent_an_address(
    make: Make, release: Release, image: Image, report: SilentReport, cloud: Ec2Cloud
) -> None:
    for host in (None, "54.214.3.9"):
        with pytest.raises(ConfigError, match="packer may dial"):
            make(ssh_host=host).bake(release, [image], report)
    assert "CreateKeyPair" not in cloud.calls


def test_credentials_that_are_not_accepted(
    make: Make, release: Release, image: Image, report: SilentReport, cloud: Ec2Cloud
) -> None:
    def refuse() -> None:
        raise ClientError({"Error": {"Code": "AuthFailure", "Message": "no"}}, "DescribeImages")

    cloud.before["DescribeImages"] = refuse
    with pytest.raises(NotAuthorised, match="aws sts get-caller-identity"):
        make().bake(release, [image], report)
    with pytest.raises(NotAuthorised):
        make().find(release)


def test_a_project_without_packers_files(
    baker: PackerBaker,
    release: Release,
    image: Image,
    report: SilentReport,
    project: PackerProject,
) -> None:
    (project.root / "packer" / "ami.pkr.hcl").unlink()
    with pytest.raises(ConfigError, match=r"there is no .*ami\.pkr\.hcl: `fearless init` writes"):
        baker.bake(release, [image], report)


# ---------------------------------------------------------------------------- baked


def test_what_is_baked_costs_nothing_but_itself(
    baker: PackerBaker,
    release: Release,
    image: Image,
    report: SilentReport,
    cloud: Ec2Cloud,
    project: PackerProject,
) -> None:
    before = cloud.snapshots()
    baked = baker.bake(release, [image], report)
    (made,) = [one for one in cloud.own() if one["ImageId"] == baked.id]
    assert made["Name"].startswith(f"shop-{release.sha[:12]}-{baked.inputs[:12]}-")
    assert cloud.left() == []
    assert leftovers(project) == []
    assert "ModifyImageAttribute" in cloud.calls  # IMDSv2
    snapshots = [one for one in cloud.snapshots() if one not in before]
    assert len(snapshots) == 1
    baker.discard(baked)
    assert [one for one in cloud.snapshots() if one not in before] == []


def test_a_snapshot_whose_machine_image_is_gone_is_deleted(
    baker: PackerBaker, release: Release, image: Image, report: SilentReport, cloud: Ec2Cloud
) -> None:
    """As a process leaves it that is killed between the two."""
    before = cloud.snapshots()
    baked = baker.bake(release, [image], report)
    cloud.ec2.deregister_image(ImageId=baked.id)
    baker.discard(baked)
    assert cloud.snapshots() == before


def test_settings_are_inputs_too(make: Make, release: Release, image: Image) -> None:
    inputs = make().inputs(release, [image])
    assert make(poll=1, subnet="subnet-1", timeout=5).inputs(release, [image]) == inputs
    others = [
        make(source_ami="ami-1").inputs(release, [image]),
        make(volume_size=20).inputs(release, [image]),
        make(log_driver="journald").inputs(release, [image]),
    ]
    assert len({inputs, *others}) == 4


def test_the_secret_is_in_the_environment_alone(
    make: Make,
    release: Release,
    image: Image,
    report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
    project: PackerProject,
    tmp_path: Path,
) -> None:
    """A packer in between notes what it was given."""
    need_packer()
    packer, _ = process.find()
    spy = (
        f'#!/bin/sh\n[ "$1" = build ] && {{ echo "$@" >{tmp_path}/argv; env >{tmp_path}/env;\n'
        f'cat "$4" "${{3#-var-file=}}" >{tmp_path}/variables 2>/dev/null; }}\n'
        f'exec {packer} "$@"\n'
    )
    program(tmp_path / "bin" / "packer", spy)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    baker = make()
    baked = baker.bake(release, [image], report)
    assert SECRET in (tmp_path / "env").read_text()
    assert "-var-file=" in (tmp_path / "argv").read_text()
    log = project.directory / "build" / release.sha / "packer.log"
    assert "Creating AMI" in log.read_text()
    assert '"key_file"' in (tmp_path / "variables").read_text()
    for path in (tmp_path / "argv", tmp_path / "variables", log):
        text = path.read_text()
        assert SECRET not in text
        assert "PRIVATE KEY" not in text
    baker.discard(baked)


def test_files_that_lose_the_tags_are_told_so(
    make: Make,
    release: Release,
    image: Image,
    report: SilentReport,
    cloud: Ec2Cloud,
    project: PackerProject,
) -> None:
    need_packer()
    file = project.root / "packer" / "ami.pkr.hcl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if "= var.tags" not in line))
    with pytest.raises(FearlessError, match=r"needs `tags = var\.tags`"):
        make(poll=0.01).bake(release, [image], report)
    assert [one for one in cloud.own() if release.sha[:12] in one["Name"]] == []


def test_a_group_that_is_still_held_is_deleted_a_little_later(
    cloud: Ec2Cloud, report: SilentReport
) -> None:
    refusals = [1, 1]

    def refuse() -> None:
        if refusals:
            refusals.pop()
            error = {"Code": "DependencyViolation", "Message": "in use"}
            raise ClientError({"Error": error}, "DeleteSecurityGroup")

    cloud.before["DeleteSecurityGroup"] = refuse
    with Temporary(cloud.ec2, "shop", 60, report, poll=0.01) as temporary:
        temporary.security_group("held", None, 22)
    assert refusals == []
    assert cloud.left() == []


# --------------------------------------------------------------------------- killed


@pytest.fixture
def waiting(project: PackerProject) -> int:
    """Bakes wait for a port nobody listens on."""
    need_packer()
    project.communicator("ssh")
    return free_port()


@pytest.fixture
def bake(
    project: PackerProject, cloud: Ec2Cloud, waiting: int, release: Release, image: Image
) -> subprocess.Popen[bytes]:
    """A process that bakes, and has got as far as an instance."""
    arguments = [str(project.root), cloud.url, str(waiting), repr(release), repr(image)]
    child = subprocess.Popen([sys.executable, "-c", BAKE, *arguments], cwd=ROOT)
    until(lambda: child.poll() is not None or logged(project, release, "Waiting for SSH"))
    assert child.poll() is None
    return child


def logged(project: PackerProject, release: Release, text: str) -> bool:
    log = project.directory / "build" / release.sha / "packer.log"
    return log.is_file() and text in log.read_text()


def packers(project: PackerProject) -> list[int]:
    """Every process of packer's that works for this project."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"packer") and str(project.root).encode() in b" ".join(words):
            found.append(int(path.parent.name))
    return found


def test_when_fearless_is_killed_packer_undoes_its_part_and_the_next_bake_the_rest(
    bake: subprocess.Popen[bytes],
    make: Make,
    release: Release,
    image: Image,
    report: SilentReport,
    cloud: Ec2Cloud,
    project: PackerProject,
) -> None:
    bake.kill()
    bake.wait()
    until(lambda: not cloud.running())
    until(lambda: not packers(project))
    project.communicator("none")
    baker = make()
    baked = baker.bake(release, [image], report)
    assert cloud.left() == []
    assert leftovers(project) == []
    baker.discard(baked)


def test_when_both_are_killed_the_next_bake_removes_everything(
    bake: subprocess.Popen[bytes],
    make: Make,
    release: Release,
    image: Image,
    report: SilentReport,
    cloud: Ec2Cloud,
    project: PackerProject,
) -> None:
    for pid in packers(project):
        os.kill(pid, signal.SIGSTOP)
    bake.kill()
    bake.wait()
    for pid in packers(project):
        os.kill(pid, signal.SIGKILL)
    (instance,) = cloud.running()
    half = cloud.ec2.create_image(InstanceId=instance["InstanceId"], Name=makes(instance))
    project.communicator("none")
    baker = make()
    baked = baker.bake(release, [image], report)
    assert cloud.left() == []
    assert half["ImageId"] not in [one["ImageId"] for one in cloud.own()]
    assert baker.find(release) == baked
    baker.discard(baked)


def makes(instance: dict[str, object]) -> str:
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}  # type: ignore[attr-defined]
    return str(tags[MAKES])


def test_when_packer_is_killed(
    make: Make,
    waiting: int,
    release: Release,
    image: Image,
    report: SilentReport,
    cloud: Ec2Cloud,
    project: PackerProject,
) -> None:
    baker = make(ssh_port=waiting)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            baker.bake(release, [image], report)
        except FearlessError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: logged(project, release, "Waiting for SSH"))
    for pid in packers(project):
        os.kill(pid, signal.SIGKILL)
    thread.join(30)
    assert str(failed[0]).startswith("error: packer: ")
    assert "packer.log" in str(failed[0])
    assert cloud.left() == []
    assert baker.list("shop") == []


def test_a_bake_that_takes_too_long(
    make: Make,
    waiting: int,
    release: Release,
    image: Image,
    report: SilentReport,
    cloud: Ec2Cloud,
    project: PackerProject,
) -> None:
    with explained() as failed:
        make(ssh_port=waiting, timeout=2).bake(release, [image], report)
    assert "longer than 2 s: raise `[ami] timeout`" in str(failed.value)
    assert logged(project, release, "Cleanly cancelled builds after being interrupted.")
    assert cloud.left() == []
    assert packers(project) == []


def test_what_somebody_elses_bake_needs_is_left_alone(
    cloud: Ec2Cloud, report: SilentReport
) -> None:
    """One that may be alive: here, or on a machine that nobody can ask."""
    with Temporary(cloud.ec2, "shop", 60, report, poll=0.01) as other:
        instance = other.instance(ImageId=BASE)
        with Temporary(cloud.ec2, "shop", 60, report, poll=0.01, me=Owner.me()):
            pass
        away = Owner("elsewhere", "boot/pid:[1]", 1, "1", "x")
        with Temporary(cloud.ec2, "shop", 60, report, poll=0.01, me=away):
            pass
        assert [one["InstanceId"] for one in cloud.running()] == [instance]
        late = lambda: time.time() + 61  # noqa: E731
        with Temporary(cloud.ec2, "shop", 60, report, poll=0.01, me=away, clock=late):
            assert cloud.running() == []


def test_another_apps_are_left_alone(cloud: Ec2Cloud, report: SilentReport) -> None:
    with Temporary(cloud.ec2, "shop", -1, report, poll=0.01) as other:
        instance = other.instance(ImageId=BASE)
        with Temporary(cloud.ec2, "shopx", 60, report, poll=0.01, me=Owner.me()):
            assert [one["InstanceId"] for one in cloud.running()] == [instance]
