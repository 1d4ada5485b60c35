"""The machine image's files are valid: checked by packer, systemd and sh where they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fearless.builtin.packer import command
from fearless.builtin.packer.bake import Bake, Machine
from fearless.testing.contracts.given import a_release, an_image
from fearless.testing.fakes import SilentReport
from tests.images import FakeProject

PACKER = Path(__file__).parent.parent / "packer"
MACHINE = PACKER / "machine"
VARIABLES = {
    "name": "shop-4f2a9c1d5e6b-001122334455-1",
    "region": "us-east-1",
    "source_ami": "ami-0123456789abcdef0",
    "security_group": "sg-0123456789abcdef0",
    "key_pair": "shop",
    "tags": {"fearless:app": "shop"},
    "temporary_tags": {"fearless:temporary": "shop"},
    "images": ["sha256:" + "ab" * 32],
    "image": "sha256:" + "ab" * 32,
}
ELSEWHERE = {"endpoint": "http://127.0.0.1:1", "ssh_host": "127.0.0.1", "ssh_port": 2222}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Without any credentials, and nothing that calls home."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CHECKPOINT_DISABLE": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@needs("packer")
@pytest.mark.parametrize("more", [{}, ELSEWHERE], ids=["aws", "elsewhere"])
def test_packer_accepts_the_template_offline(tmp_path: Path, more: dict[str, Any]) -> None:
    (tmp_path / "images").mkdir()
    key = Ed25519PrivateKey.generate()
    openssh = (Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "key").write_bytes(key.private_bytes(*openssh))
    files = {"archives": str(tmp_path / "images"), "key_file": str(tmp_path / "key")}
    given = tmp_path / "given.pkrvars.json"
    given.write_text(json.dumps({**VARIABLES, **files, **more}))
    checked = run("packer", "validate", f"-var-file={given}", str(PACKER / "ami.pkr.hcl"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Undefined variable" not in checked.stdout + checked.stderr


@needs("packer")
def test_the_files_are_formatted_as_packer_does() -> None:
    checked = run("packer", "fmt", "-check", str(PACKER))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_variable_that_fearless_gives_is_declared(tmp_path: Path) -> None:
    """packer only warns of one that is not, and does without."""
    machine = Machine("us-east-1", "ami-1", "t3.small", 16, "awslogs", "admin", 22, None, None)
    release = a_release("shop")
    image = an_image(tmp_path / "image", release)
    bake = Bake(FakeProject(tmp_path), machine, release, [image], "00", tmp_path, SilentReport())
    reach = command.reach("http://127.0.0.1:1", "127.0.0.1")
    given = {*bake.variables({"fearless:temporary": "shop"}, "sg-1"), *reach, "root_device"}
    declared = re.findall(r'^variable "(\w+)"', (PACKER / "ami.pkr.hcl").read_text(), re.M)
    assert sorted(declared) == sorted(given)


@needs("systemd-analyze")
@pytest.mark.parametrize("name", ["fearless@.service", "fearless-boot-test.service"])
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    unit = tmp_path / name.replace("@", "@web")
    text = (MACHINE / name).read_text()
    unit.write_text(re.sub(r"/usr/(bin/docker|local/lib/fearless/\S+)", "/bin/true", text))
    checked = run("systemd-analyze", "verify", str(unit))
    complaints = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert not [line for line in complaints if "docker.service" not in line], checked.stderr


SCRIPTS = [PACKER / "provision.sh", MACHINE / "run", MACHINE / "boot-test"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_executable_and_sh_can_read_them(script: Path) -> None:
    assert os.access(script, os.X_OK)
    checked = run("sh", "-n", str(script))
    assert checked.returncode == 0, checked.stderr


def started(tmp_path: Path, driver: str) -> subprocess.CompletedProcess[str]:
    """What `run web` asks of docker: a docker that says its arguments."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o755)
    given = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "IMAGE": "sha256:1",
        "LOG_DRIVER": driver,
        "AWS_REGION": "us-east-1",
        "FEARLESS_LOG_GROUP": "/fearless/shop/s",
    }
    script = [str(MACHINE / "run"), "web"]
    return subprocess.run(script, capture_output=True, text=True, env=given, check=False)


@pytest.mark.parametrize("driver", ["awslogs", "journald"])
def test_a_container_is_started_without_pulling_and_without_rights(
    tmp_path: Path, driver: str
) -> None:
    said = started(tmp_path, driver).stdout.splitlines()
    assert said[0] == "run"
    assert said[-1] == "sha256:1"
    assert {
        "--pull=never",
        "--name=fearless-web",
        "--env-file=/etc/fearless/release.env",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    } < set(said)


def test_a_container_starts_although_cloudwatch_does_not_answer(tmp_path: Path) -> None:
    """Docker opens the stream before it starts a container, unless lines may be lost."""
    said = started(tmp_path, "awslogs").stdout
    assert "--log-driver=awslogs\n--log-opt=mode=non-blocking\n" in said
    assert "--log-opt=awslogs-group=/fearless/shop/s\n" in said
    assert f"--log-opt=awslogs-stream=web/{os.uname().nodename}\n" in said


def test_an_unknown_log_driver_is_refused(tmp_path: Path) -> None:
    failed = started(tmp_path, "syslog")
    assert failed.returncode == 1
    assert failed.stderr == (
        "run: LOG_DRIVER=syslog in /etc/fearless/image.env: awslogs or journald\n"
    )


def test_nothing_pulls_and_nobody_logs_in() -> None:
    for path in (PACKER / "provision.sh", *MACHINE.iterdir()):
        assert "docker pull" not in path.read_text()
    assert "authorized_keys" in (PACKER / "provision.sh").read_text()
