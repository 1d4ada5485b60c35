"""The machine image's files are valid: checked by packer, systemd and sh where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKER = Path(__file__).parent.parent / "packer"
VARIABLES = {
    "app": "shop",
    "sha": "4f2a9c1d5e6b7a8f9c0d1e2f3a4b5c6d7e8f9a0b",
    "inputs": "00112233445566778899aabbccddeeff",
    "region": "us-east-1",
    "source_ami": "ami-0123456789abcdef0",
    "image": "sha256:" + "ab" * 32,
}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Without any credentials, and nothing that calls home."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CHECKPOINT_DISABLE": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@needs("packer")
def test_packer_accepts_the_template_offline(tmp_path: Path) -> None:
    archive = tmp_path / "images.tar"
    archive.touch()
    given = [f"-var={key}={value}" for key, value in {**VARIABLES, "images": str(archive)}.items()]
    checked = run("packer", "validate", *given, str(PACKER / "ami.pkr.hcl"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs("packer")
def test_the_files_are_formatted_as_packer_does() -> None:
    checked = run("packer", "fmt", "-check", str(PACKER))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs("systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "fearless-web.service"
    text = (PACKER / unit.name).read_text()
    unit.write_text(text.replace("/usr/bin/docker", "/bin/true"))
    checked = run("systemd-analyze", "verify", str(unit))
    complaints = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert not [line for line in complaints if "docker.service" not in line], checked.stderr


def test_the_script_is_executable_and_sh_can_read_it() -> None:
    script = PACKER / "provision.sh"
    assert os.access(script, os.X_OK)
    checked = run("sh", "-n", str(script))
    assert checked.returncode == 0, checked.stderr


def test_the_machine_never_pulls_and_nobody_logs_in() -> None:
    unit = (PACKER / "fearless-web.service").read_text()
    assert "--pull=never" in unit
    assert "EnvironmentFile=/etc/fearless/release.env" in unit
    script = (PACKER / "provision.sh").read_text()
    assert "sshd.service" in script
    assert "authorized_keys" in script
    assert "docker pull" not in script + unit
