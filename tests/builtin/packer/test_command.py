"""What packer is told, and what is understood of its answers: pure functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from botocore.credentials import ReadOnlyCredentials

from fearless.builtin.packer import command, manifest
from fearless.errors import ConfigError, FearlessError

AWS = "https://ec2.eu-west-1.amazonaws.com"


def test_the_version() -> None:
    assert command.version("Packer v1.6.6\n") == (1, 6, 6)
    assert command.version("Packer v1.11.2\n\nYour version is out of date!") == (1, 11, 2)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Packer v1.5.6\n", "packer 1.5.6 is too old: install packer 1.6.6 or newer"),
        ("", "not HashiCorp's: install packer"),
        ("usage: packer [password]", "not HashiCorp's: install packer"),
    ],
)
def test_another_packer_is_refused(said: str, why: str) -> None:
    with pytest.raises(FearlessError, match=why):
        command.version(said)


def test_the_commands() -> None:
    assert command.init("/bin/packer", "work/packer") == ["/bin/packer", "init", "work/packer"]
    assert command.build("/bin/packer", "work/packer", "work/v.json") == [
        "/bin/packer",
        "build",
        "-color=false",
        "-var-file=work/v.json",
        "work/packer",
    ]


def test_the_environment_has_the_given_credentials_and_no_others() -> None:
    inherited = {
        "PATH": "/bin",
        "AWS_PROFILE": "other",
        "AWS_SESSION_TOKEN": "old",
        "AWS_ENDPOINT_URL": "http://elsewhere",
        "PKR_VAR_source_ami": "ami-1",
        "AWS_CA_BUNDLE": "/ca.pem",
    }
    given = ReadOnlyCredentials("key", "secret", None)
    assert command.environment(inherited, given, "eu-west-1") == {
        "PATH": "/bin",
        "AWS_CA_BUNDLE": "/ca.pem",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-west-1",
        "CHECKPOINT_DISABLE": "1",
    }
    lent = ReadOnlyCredentials("key", "secret", "token")
    assert command.environment({}, lent, "x")["AWS_SESSION_TOKEN"] == "token"


@pytest.mark.parametrize("endpoint", [AWS, "https://ec2.cn-north-1.amazonaws.com.cn"])
def test_aws_is_dialled_as_it_says(endpoint: str) -> None:
    assert command.reach(endpoint, None) == {}
    assert command.reach(endpoint, "10.0.0.9") == {"ssh_host": "10.0.0.9"}


@pytest.mark.parametrize("host", ["127.0.0.1", "10.99.2.2", "::1"])
def test_another_endpoint_is_dialled_at_a_private_address(host: str) -> None:
    reached = command.reach("http://127.0.0.1:5000", host)
    assert reached == {"endpoint": "http://127.0.0.1:5000", "ssh_host": host}


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:5000", "https://ec2.example.com", "https://amazonaws.com.evil"]
)
def test_an_address_that_another_endpoint_invents_is_never_dialled(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="may invent the addresses of its instances: set `ssh_"):
        command.reach(endpoint, None)


@pytest.mark.parametrize("host", ["54.1.2.3", "localhost", "example.com", "0.0.0.0", "::"])
def test_another_endpoint_may_not_lead_anywhere_public(host: str) -> None:
    with pytest.raises(ConfigError, match=r"of this machine .* or of a private network only"):
        command.reach("http://127.0.0.1:5000", host)


def test_variables_without_a_value_keep_their_default() -> None:
    text = command.variables({"b": ["x"], "a": None, "tags": {"k": "v"}})
    assert json.loads(text) == {"b": ["x"], "tags": {"k": "v"}}


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "==> amazon-ebs.app: Prevalidating AMI Name: x\n"
            "Build 'amazon-ebs.app' errored after 49 milliseconds 378 microseconds: "
            "Error: AMI Name: 'x' is used by an existing AMI: ami-1\n",
            "Error: AMI Name: 'x' is used by an existing AMI: ami-1",
        ),
        (
            "==> amazon-ebs.app: Provisioning with shell script: provision.sh\n"
            "    amazon-ebs.app: Loaded image\n"
            "==> amazon-ebs.app: provision.sh: image sha256:1 is not in the archives\n"
            "==> amazon-ebs.app: Provisioning step had errors: Running the cleanup provisioner\n"
            "==> amazon-ebs.app: Terminating the source AWS instance...\n"
            "Build 'amazon-ebs.app' errored after 5 seconds: Script exited with non-zero exit "
            "status: 1. Allowed exit codes are: [0]\n",
            "Script exited with non-zero exit status: 1. Allowed exit codes are: [0] "
            "(provision.sh: image sha256:1 is not in the archives)",
        ),
        (
            "Error: 1 error(s) occurred:\n\n* Throughput must be between 125 and 1000\n\n"
            "  on m.pkr.hcl line 2:\n",
            "1 error(s) occurred: * Throughput must be between 125 and 1000 on m.pkr.hcl line 2:",
        ),
        ("cannot run packer: Exec format error\n", "cannot run packer: Exec format error"),
        ("", "it said nothing"),
    ],
)
def test_why_packer_failed_is_one_line(log: str, line: str) -> None:
    assert command.failure(log) == line


# -------------------------------------------------------------------------- manifest


def written(path: Path, *artifacts: str, run: str = "1") -> Path:
    builds = [{"artifact_id": artifact, "packer_run_uuid": "1"} for artifact in artifacts]
    path.write_text(json.dumps({"builds": builds, "last_run_uuid": run}))
    return path


def test_the_manifest_names_the_machine_image(tmp_path: Path) -> None:
    file = written(tmp_path / "m", "us-east-1:ami-ec9f82e233d44f0ba")
    assert manifest.machine_image(file, "us-east-1") == "ami-ec9f82e233d44f0ba"


@pytest.mark.parametrize(
    ("artifacts", "run"),
    [
        ([], "1"),
        (["us-east-1:ami-ec9f82e233d44f0ba"], "2"),
        (["eu-west-1:ami-ec9f82e233d44f0ba"], "1"),
        (["us-east-1:ami-ec9f82e233d44f0ba,eu-west-1:ami-ec9f82e233d44f0bb"], "1"),
        (["us-east-1:ami-ec9f82e233d44f0ba", "us-east-1:ami-ec9f82e233d44f0bb"], "1"),
        (["us-east-1:ami-xyz"], "1"),
        (["us-east-1:i-ec9f82e2"], "1"),
    ],
)
def test_any_other_number_or_place_or_thing_is_refused(
    tmp_path: Path, artifacts: list[str], run: str
) -> None:
    with pytest.raises(FearlessError, match="and not one machine image in us-east-1"):
        manifest.machine_image(written(tmp_path / "m", *artifacts, run=run), "us-east-1")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"builds": 1, "last_run_uuid": 1}'])
def test_a_damaged_manifest_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(FearlessError, match="not a manifest of packer's"):
        manifest.machine_image(tmp_path / "m", "us-east-1")


def test_a_missing_manifest_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(FearlessError, match='post-processor "manifest"'):
        manifest.machine_image(tmp_path / "manifest.json", "us-east-1")
