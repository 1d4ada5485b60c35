"""Real packer against moto's EC2, with a machine that nobody logs in to: a bake in a second."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fearless.builtin.packer.baker import PackerBaker
from fearless.interfaces import Image, Release, TableSpec
from fearless.local.registry import LocalRegistry
from fearless.testing.contracts.given import a_release, an_image
from tests import moto_ec2, stacks
from tests.images import FakeProject
from tests.moto_ec2 import BASE, Ec2Cloud

QUICK = """
variable "name" {}
variable "region" {}
variable "source_ami" {}
variable "endpoint" {}
variable "root_device" {}
variable "volume_size" {}
variable "key_pair" {}
variable "key_file" {}
variable "security_group" {}
variable "ssh_host" {}
variable "ssh_port" {}
variable "ssh_user" {}
variable "instance_type" {}
variable "tags" { type = map(string) }
variable "temporary_tags" { type = map(string) }
variable "manifest" {}

source "amazon-ebs" "app" {
  communicator               = "%s"
  ami_name                   = var.name
  region                     = var.region
  source_ami                 = var.source_ami
  instance_type              = var.instance_type
  security_group_id          = var.security_group
  ssh_username               = var.ssh_user
  ssh_keypair_name           = var.key_pair
  ssh_private_key_file       = var.key_file
  ssh_host                   = var.ssh_host
  ssh_port                   = var.ssh_port
  custom_endpoint_ec2        = var.endpoint
  skip_region_validation     = true
  skip_metadata_api_check    = true
  skip_credential_validation = true
  tags                       = var.tags
  snapshot_tags              = var.tags
  run_tags                   = var.temporary_tags
  run_volume_tags            = var.temporary_tags
  launch_block_device_mappings {
    device_name           = var.root_device
    volume_size           = var.volume_size
    volume_type           = "gp2"
    encrypted             = true
    delete_on_termination = true
  }
}

build {
  sources = ["source.amazon-ebs.app"]
  post-processor "manifest" { output = var.manifest }
}
"""
"""What `packer/ami.pkr.hcl` does, without logging in: `none`, or `ssh` for one that waits."""


@dataclass
class PackerProject(FakeProject):
    """A project whose `packer/` bakes at once."""

    app: stacks.App = field(default_factory=stacks.App)
    tables: tuple[TableSpec, ...] = tuple(stacks.TABLES)

    def communicator(self, name: str) -> None:
        """Bake with that communicator from now on."""
        folder = self.root / "packer"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ami.pkr.hcl").write_text(QUICK % name)
        (folder / "plugins.pkr.hcl").write_text('packer { required_version = ">= 1.7.0" }\n')

    def pushed(self, release: Release, text: str = "one") -> Image:
        """An image of the release, in the registry."""
        registry = self.registry
        assert isinstance(registry, LocalRegistry)
        return registry.push(an_image(self.root / f"built-{text}-{release.sha}", release, text))


def need_packer() -> None:
    """Skip without packer; in CI, fail."""
    if shutil.which("packer") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have packer")
        pytest.skip("packer is not installed (Debian: apt-get install packer)")


@pytest.fixture(scope="session")
def ec2_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_ec2.running(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def cloud(ec2_url: str) -> Iterator[Ec2Cloud]:
    made = Ec2Cloud(ec2_url)
    yield made
    assert made.left() == []


@pytest.fixture
def project(tmp_path: Path) -> PackerProject:
    made = PackerProject(tmp_path / "project")
    made.registry = LocalRegistry(made)  # type: ignore[arg-type]
    made.communicator("none")
    return made


Make = Callable[..., PackerBaker]


@pytest.fixture
def make(project: PackerProject, cloud: Ec2Cloud) -> Make:
    """A baker with other settings than the quickest."""

    def make(**settings: Any) -> PackerBaker:
        given = {"source_ami": BASE, "ssh_host": "127.0.0.1", "poll": 0.05, "boot_test": False}
        return PackerBaker(project, cloud, **{**given, **settings})  # type: ignore[arg-type]

    return make


@pytest.fixture
def baker(make: Make) -> PackerBaker:
    need_packer()
    return make()


@pytest.fixture
def release() -> Release:
    return a_release("shop")


@pytest.fixture
def image(project: PackerProject, release: Release) -> Image:
    return project.pushed(release)
