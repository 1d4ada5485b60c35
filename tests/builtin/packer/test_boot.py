"""The boot test's part with EC2: what is started, how its console is read, what becomes of it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from fearless.builtin.packer import boot
from fearless.builtin.packer.baker import PackerBaker
from fearless.errors import BootFailed, FearlessError
from fearless.interfaces import Image, MachineImage, Release
from fearless.template import parse
from fearless.testing import contracts
from fearless.testing.contracts.given import a_release
from fearless.testing.fakes import SilentReport
from tests import stacks
from tests.builtin.packer.conftest import Make, PackerProject, need_packer
from tests.moto_ec2 import Ec2Cloud, encoded

Said = Callable[[str], str]


@pytest.fixture
def baker(make: Make) -> PackerBaker:
    need_packer()
    return make(boot_test=True)


@pytest.fixture
def baked(baker: PackerBaker, release: Release, image: Image, report: SilentReport) -> Any:
    made = baker.bake(release, [image], report)
    yield made
    baker.discard(made)


@pytest.fixture
def started(cloud: Ec2Cloud) -> list[dict[str, Any]]:
    """What EC2 was asked to start, and what its security group let through then."""
    found: list[dict[str, Any]] = []

    def remember(request: dict[str, Any], answer: dict[str, Any]) -> None:
        groups = [request["NetworkInterface.1.SecurityGroupId.1"]]
        rules = cloud.ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"][0]
        found.append({**request, "rules": rules["IpPermissions"] + rules["IpPermissionsEgress"]})

    cloud.after["RunInstances"] = remember
    return found


def console(cloud: Ec2Cloud, started: list[dict[str, Any]], said: Said) -> None:
    """Have the console say that, of the nonce that the instance was given."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return encoded(said(nonce(started)))

    cloud.answers["GetConsoleOutput"] = answer


def files(started: list[dict[str, Any]]) -> dict[str, str]:
    text = base64.b64decode(started[-1]["UserData"]).decode()
    assert text.startswith("#cloud-config\n")
    return {file["path"]: file["content"] for file in yaml.safe_load(text)["write_files"]}


def nonce(started: list[dict[str, Any]]) -> str:
    found = re.search(r"^NONCE=(\w+)$", files(started)[boot.TEST_FILE], re.M)
    assert found
    return found[1]


class TestPackerBaker(contracts.BootTestContract):
    """The console is of a machine that runs the image it was baked with."""

    @pytest.fixture
    def release(self, app: str) -> Release:
        return a_release(app)

    @pytest.fixture
    def images(self, project: PackerProject, release: Release) -> Sequence[Image]:
        return [project.pushed(release)]

    @pytest.fixture
    def broken(self, project: PackerProject, release: Release) -> Sequence[Image]:
        return [project.pushed(release, "broken")]

    @pytest.fixture
    def provider(
        self,
        baker: PackerBaker,
        cloud: Ec2Cloud,
        started: list[dict[str, Any]],
        request: pytest.FixtureRequest,
    ) -> PackerBaker:
        def said(nonce: str) -> str:
            (booted,) = cloud.ec2.describe_images(ImageIds=[started[-1]["ImageId"]])["Images"]
            tags = {tag["Key"]: tag["Value"] for tag in booted["Tags"]}
            broken = request.node.funcargs.get("broken", ())
            ill = tags["fearless:image:0"] in [image.reference for image in broken]
            return f"fearless-boot-test {nonce} {'failed 503' if ill else 'ok 200'}\r\n"

        console(cloud, started, said)
        return baker


def test_one_that_answers_is_found_from_then_on(
    baker: PackerBaker,
    baked: MachineImage,
    release: Release,
    image: Image,
    report: SilentReport,
    cloud: Ec2Cloud,
    started: list[dict[str, Any]],
) -> None:
    assert baker.find(release) is None
    assert baker.bake(release, [image], report) == baked
    assert baker.find(release) is None
    assert baker.list(release.app)[-1] == baked
    said = iter(("", "Linux\r\n", "fearless-boot-test {} ok", "fearless-boot-test {} ok 200\r\n"))
    console(cloud, started, lambda nonce: next(said).replace("{}", nonce))
    assert baker.boot_test(release, baked, report) == "200"
    assert baker.find(release) == baked
    (request,) = started
    assert request["rules"] == []
    assert request["NetworkInterface.1.AssociatePublicIpAddress"] == "false"
    assert request["MetadataOptions.HttpTokens"] == "required"
    assert request["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert not [key for key in request if key.startswith(("KeyName", "IamInstanceProfile"))]
    assert "PORT=8080\n" in files(started)[boot.RELEASE_FILE]
    assert "HEALTH=/healthz\n" in files(started)[boot.TEST_FILE]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("fearless-boot-test {} failed /healthz answered 503 for 300 s\r\n", "answered 503 for"),
        ("[[0;32m  OK  [0m] Reached target\r\n", "said nothing .*the last on its console: "),
        ("fearless-boot-test 0000 ok\r\n", "said nothing of its application within"),
    ],
)
def test_one_that_does_not_answer_fails(
    said: str,
    why: str,
    baker: PackerBaker,
    baked: MachineImage,
    release: Release,
    report: SilentReport,
    cloud: Ec2Cloud,
    started: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(boot.Console.__init__.__kwdefaults__, "spare", 0)
    baker.boot_timeout = 1
    console(cloud, started, lambda nonce: said.replace("{}", nonce))
    with pytest.raises(BootFailed, match=f"{baked.id} without any network: .*{why}") as failed:
        baker.boot_test(release, baked, report)
    assert "\n" not in str(failed.value)
    assert "\x1b" not in str(failed.value)
    assert baker.find(release) is None
    assert cloud.left() == []


def test_an_instance_that_ends_says_nothing_of_the_image(
    baker: PackerBaker,
    baked: MachineImage,
    release: Release,
    report: SilentReport,
    cloud: Ec2Cloud,
    started: list[dict[str, Any]],
) -> None:
    def end(nonce: str) -> str:
        cloud.ec2.terminate_instances(InstanceIds=[one["InstanceId"] for one in cloud.running()])
        return ""

    console(cloud, started, end)
    with pytest.raises(FearlessError, match="ended before it said anything") as failed:
        baker.boot_test(release, baked, report)
    assert not isinstance(failed.value, BootFailed)


def test_no_instance_to_be_had_says_nothing_of_the_image(
    baker: PackerBaker,
    baked: MachineImage,
    release: Release,
    report: SilentReport,
    cloud: Ec2Cloud,
) -> None:
    def refuse() -> None:
        error = {"Code": "InsufficientInstanceCapacity", "Message": "none left"}
        raise ClientError({"Error": error}, "RunInstances")

    cloud.before["RunInstances"] = refuse
    with pytest.raises(FearlessError, match=f"starting an instance of {baked.id}: Insuff") as it:
        baker.boot_test(release, baked, report)
    assert not isinstance(it.value, BootFailed)
    assert cloud.left() == []
    assert baker.list(release.app)[-1] == baked


def test_where_it_is_switched_off_an_image_is_found_at_once(
    make: Make, release: Release, image: Image, report: SilentReport, cloud: Ec2Cloud
) -> None:
    need_packer()
    tested = make(boot_test=True)
    baked = tested.bake(release, [image], report)
    assert tested.find(release) is None
    untested = make(boot_test=False)
    assert untested.bake(release, [image], report) == baked
    assert untested.boot_test(release, baked, report) == "not tested: [ami] boot_test = false"
    assert untested.find(release) == baked
    untested.discard(baked)


def test_the_settings_are_those_of_a_stack(project: PackerProject) -> None:
    """The keys of release.env in templates/instances.yaml.j2, and no others."""
    of = stacks.release()
    template = parse(stacks.template(of).text, "stack.yaml.j2")
    data = template["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]
    (file,) = yaml.safe_load(data["Fn::Base64"]["Fn::Sub"])["write_files"]
    assert file["path"] == boot.RELEASE_FILE
    given = boot.settings(project, of, "us-east-1")  # type: ignore[arg-type]
    lines = [line.partition("=") for line in file["content"].splitlines()]
    assert [key for key, _, _ in lines] == list(given)
    fixed = {key: value for key, _, value in lines if "$" not in value}
    assert fixed == {key: given[key] for key in fixed}


def test_user_data_is_json_that_cloud_init_reads_as_yaml() -> None:
    text = boot.user_data({"A": "1", "B": "x: y # z"}, "n0", "/h", 30)
    head, _, body = text.partition("\n")
    assert head == "#cloud-config"
    assert json.loads(body) == yaml.safe_load(text)
    by_path = {file["path"]: file["content"] for file in json.loads(body)["write_files"]}
    assert by_path == {
        boot.RELEASE_FILE: "A=1\nB=x: y # z\n",
        boot.TEST_FILE: "NONCE=n0\nHEALTH=/h\nTIMEOUT=30\n",
    }


def test_a_verdict_is_read_when_its_line_is_complete() -> None:
    line = "[ 9.1] x\r\nfearless-boot-test n1 ok /h answered 200 after 3 s"
    assert boot.heard(line, "n1") is None
    assert boot.heard(f"{line}\r\n", "n1") == boot.Verdict(True, "/h answered 200 after 3 s")
    assert boot.heard(f"{line}\r\n", "n2") is None
    garbled = "fearless-boot-test n1 o[ 9.9] kernel\nfearless-boot-test n1 failed x\n"
    assert boot.heard(garbled, "n1") == boot.Verdict(False, "x")
