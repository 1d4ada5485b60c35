"""The embedded cloud as a whole: real emulator, real Caddy, real processes, loopback only."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.builtin.gates import targets_healthy
from fearless.errors import FearlessError, GateFailed
from fearless.http import get
from fearless.interfaces import Candidate, Release, Stack
from fearless.local import launcher, process, sockets
from fearless.local.cloud import LocalCloud, NotRunning
from fearless.local.directory import Running
from tests.local.cloud_kit import DOMAIN, Kit, Load, project, running, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with running(tmp_path_factory.mktemp("cloud"), Lines()) as kit:
        yield kit


class Lines:
    def line(self, text: str) -> None:
        pass

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        pass


@pytest.fixture(scope="module")
def one(kit: Kit) -> dict[str, str]:
    outputs = kit.create("one", kit.bake("v1"))
    kit.wait_healthy(outputs)
    return outputs


def about(url: str, path: str = "/") -> dict[str, Any]:
    status, body = get(url + path)
    assert status == 200, body
    return dict(json.loads(body))


def instance(kit: Kit, id: str) -> dict[str, Any]:
    status = kit.cloud.status() or {}
    return next(i for i in status["instances"] if i["id"] == id)


def stack(name: str, outputs: dict[str, str]) -> Stack:
    from datetime import UTC, datetime

    return Stack(name, name, "CREATE_COMPLETE", "dev", "r", "s", datetime.now(UTC), outputs)


def candidate(kit: Kit, name: str, outputs: dict[str, str]) -> Candidate:
    def get(path: str) -> tuple[int, bytes]:
        raise AssertionError("the health of targets is asked of the API")

    def post(path: str, body: Any) -> tuple[int, bytes]:
        raise AssertionError("gates do not write")

    release = Release("shop", "4" * 40, name, "", name)
    return Candidate(release, stack(name, outputs), kit.url(outputs), get, post)


def test_instances_serve_behind_the_load_balancer(kit: Kit, one: dict[str, str]) -> None:
    seen = {about(kit.url(one))["instance"] for _ in range(8)}
    assert seen == set(kit.health(one)), "round robin reaches every instance"
    answer = about(kit.url(one))
    assert answer["headers"]["Host"] == f"localhost:{one['ListenerPort']}"
    assert answer["headers"]["X-Forwarded-Proto"] == "http"
    assert answer["env"]["FEARLESS_STACK"] == "one"
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(answer["env"])


def test_every_api_lists_the_same_instances(kit: Kit, one: dict[str, str]) -> None:
    targets = set(kit.health(one))
    group = kit.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[one["AutoScalingGroup"]]
    )["AutoScalingGroups"][0]
    assert {i["InstanceId"] for i in group["Instances"]} == targets
    assert {i["LifecycleState"] for i in group["Instances"]} == {"InService"}
    filters = [{"Name": "tag:aws:autoscaling:groupName", "Values": [one["AutoScalingGroup"]]}]
    found = kit.client("ec2").describe_instances(Filters=filters)["Reservations"]
    machines = [m for r in found for m in r["Instances"] if m["State"]["Name"] == "running"]
    assert {m["InstanceId"] for m in machines} == targets
    tags = {t["Key"]: t["Value"] for t in machines[0]["Tags"]}
    assert tags["fearless:sha"] == "baked" and tags["fearless:image"].startswith("shop@sha256:")
    assert machines[0]["ImageId"] == "ami-v1good"


def test_an_app_has_its_role_and_nothing_more(kit: Kit, one: dict[str, str]) -> None:
    env = about(kit.url(one))["env"]
    from urllib.request import Request, urlopen

    def ask(token: str) -> dict[str, Any]:
        uri = env["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        with urlopen(Request(uri, headers={"Authorization": token})) as answer:
            return dict(json.load(answer))

    with pytest.raises(OSError, match="401"):
        ask("guessed")
    import boto3

    issued = ask(env["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
    tables = boto3.client(
        "dynamodb",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=issued["AccessKeyId"],
        aws_secret_access_key=issued["SecretAccessKey"],
        aws_session_token=issued["Token"],
    )
    key = {"id": {"S": "x"}}
    assert "Item" not in tables.get_item(TableName=one["Table"], Key=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        tables.put_item(TableName=one["Table"], Item=key)


def test_the_public_url_says_what_to_do_while_nothing_is_live(kit: Kit) -> None:
    status, body = get(kit.cloud.public_url(DOMAIN))
    assert (status, body.decode().strip()) == (
        503,
        f"503: no release of {DOMAIN} is live yet: run `doit release`",
    )


def test_a_killed_instance_is_replaced_and_no_request_fails(kit: Kit, one: dict[str, str]) -> None:
    victim, other = kit.wait_healthy(one)
    with Load(int(one["ListenerPort"])) as load:
        wait_for(lambda: load.answers["v1"] > 20)
        os.kill(instance(kit, victim)["pid"], signal.SIGKILL)
        wait_for(lambda: victim not in kit.health(one))
        assert other in kit.wait_healthy(one)
        reached = load.answers["v1"]
        wait_for(lambda: load.answers["v1"] > reached + 20)
    cut = [failure for failure in load.failures if "IncompleteRead" in failure]
    assert load.failures == cut and len(cut) <= 3, "but the answers that it was giving just then"
    found = kit.client("ec2").describe_instances(InstanceIds=[victim])["Reservations"]
    assert found[0]["Instances"][0]["State"]["Name"] == "terminated"
    problem = (kit.cloud.status() or {})["groups"][0]["problem"]
    assert problem == f"{victim}: ended with signal 9: version v1 starts"


def test_scaling_in_drains_and_stops_gracefully(kit: Kit, one: dict[str, str]) -> None:
    scaling, name = kit.client("autoscaling"), one["AutoScalingGroup"]
    scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=3)
    before = kit.wait_healthy(one, 3)
    with Load(int(one["ListenerPort"]), "/slow") as load:
        wait_for(lambda: load.answers["v1"] > 2)
        scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=2)
        wait_for(lambda: "draining" in kit.health(one).values())
        after = kit.wait_healthy(one, 2)
    assert load.failures == []
    (gone,) = set(before) - set(after)
    wait_for(lambda: "stopped gracefully" in log_of(kit, gone))


def log_of(kit: Kit, id: str) -> str:
    return (kit.cloud.directory.instances / id / "app.log").read_text()


def test_an_instance_terminated_by_the_api_is_replaced(kit: Kit, one: dict[str, str]) -> None:
    victim, _ = kit.wait_healthy(one)
    wait_for(lambda: instance(kit, victim)["healthy"])
    kit.client("ec2").terminate_instances(InstanceIds=[victim])
    wait_for(lambda: victim not in kit.health(one))
    kit.wait_healthy(one)


def test_the_public_url_follows_the_record_and_a_deleted_stack_stops(
    kit: Kit, one: dict[str, str]
) -> None:
    public = kit.cloud.public_url(DOMAIN)
    port = int(public.rpartition(":")[2])
    two = kit.create("two", kit.bake("v2"))
    kit.wait_healthy(two)
    kit.point(one)
    wait_for(lambda: get(public)[0] == 200)
    headers = about(public)["headers"]
    assert headers["Host"] == f"localhost:{port}"
    assert headers["X-Forwarded-For"] == "127.0.0.1, 127.0.0.1"
    assert headers["X-Forwarded-Host"] == f"localhost:{port}"
    with Load(port) as load:
        wait_for(lambda: load.answers["v1"] > 20)
        kit.point(two)
        wait_for(lambda: load.answers["v2"] > 20, 5)
        assert about(public)["version"] == "v2"
        pids = [instance(kit, id)["pid"] for id in kit.health(one)]
        kit.delete("one")
        wait_for(lambda: not any(process.started(pid) for pid in pids))
        wait_for(lambda: refused(int(one["ListenerPort"])))
    assert load.failures == []
    kit.delete("two")
    wait_for(lambda: "no load balancer answers" in get(public)[1].decode())


def refused(port: int) -> bool:
    try:
        get(f"http://127.0.0.1:{port}/", timeout=1)
    except OSError:
        return True
    return False


def test_a_dev_stack_changes_its_image_one_instance_at_a_time(kit: Kit) -> None:
    outputs = kit.create("dev", kit.bake("v1"), kind="dev")
    kit.wait_healthy(outputs)
    old = set(kit.health(outputs))
    deployer, image = kit.deployer(150), kit.push("v3")
    release = Release("shop", "3" * 40, "dev-3", "", "dev", "dev", "b")
    dev = stack("dev", outputs)
    assert deployer.deployed(dev) is None
    with Load(int(outputs["ListenerPort"])) as load:
        wait_for(lambda: load.answers["v1"] > 20)
        deployer.deploy(release, dev, image, Lines())
        wait_for(lambda: load.answers["v3"] > 20)
    assert load.failures == []
    assert not old & set(kit.health(outputs))
    answer = about(kit.url(outputs))
    assert (answer["version"], answer["env"]["FEARLESS_SHA"]) == ("v3", "3" * 40)
    assert deployer.deployed(dev) == image.reference
    deployer.deploy(release, dev, image, Lines())
    broken = kit.push("v4", "crash")
    impatient = kit.deployer(4)
    with pytest.raises(FearlessError, match=r"0 of 2 instances run v4.*no database to be found"):
        impatient.deploy(release, dev, broken, Lines())
    assert about(kit.url(outputs))["version"] == "v3", "the old ones serve on"
    for _ in range(2):
        deployer.forget(dev)
        assert deployer.deployed(dev) is None
        assert not (kit.cloud.directory.root / "deployed" / "dev").exists()
    kit.delete("dev")


def test_a_crashing_app_backs_off_and_says_why(kit: Kit) -> None:
    outputs = kit.create("crash", kit.bake("v1", "crash"), count=1)

    def trouble() -> dict[str, Any] | None:
        groups = (kit.cloud.status() or {})["groups"]
        found = [g for g in groups if g["name"] == outputs["AutoScalingGroup"]]
        return found[0] if found and found[0]["failures"] >= 2 else None

    group = wait_for(trouble)
    assert "ended with exit code 1: version v1 starts / no database to be found" in group["problem"]
    assert group["log"][-1] == "no database to be found"
    assert get(kit.url(outputs))[0] == 503
    began, gate = time.monotonic(), targets_healthy(kit.cloud, timeout=120)
    with pytest.raises(GateFailed) as caught:
        gate.check(candidate(kit, "crash", outputs))
    assert time.monotonic() - began < 30
    assert re.search(
        r"stack crash: .*, 1 wanted, and its instances keep ending, \d+ so far: i-\w+: ended with "
        r"exit code 1: version v1 starts / no database to be found$",
        str(caught.value),
    )
    kit.delete("crash")


def test_an_app_that_listens_to_the_network_is_refused(kit: Kit) -> None:
    outputs = kit.create("open", kit.bake("v1", "exposed"), count=1)

    def problem() -> str:
        groups = (kit.cloud.status() or {})["groups"]
        return next((g["problem"] for g in groups if g["name"] == outputs["AutoScalingGroup"]), "")

    assert "refused: it listens on 0.0.0.0:" in wait_for(problem)
    kit.delete("open")


def test_a_missing_machine_image_is_said(kit: Kit) -> None:
    outputs = kit.create("missing", "ami-nowhere", count=1)

    def problem() -> str:
        groups = (kit.cloud.status() or {})["groups"]
        return next((g["problem"] for g in groups if g["name"] == outputs["AutoScalingGroup"]), "")

    assert wait_for(problem) == (
        "machine image ami-nowhere is not in .fearless/amis: bake it with `doit ami`"
    )
    kit.delete("missing")


def test_a_sick_app_is_never_called_healthy(kit: Kit) -> None:
    outputs = kit.create("sick", kit.bake("v1", "sick"), count=1)
    (id,) = wait_for(lambda: list(kit.health(outputs)))
    wait_for(lambda: "[500]" in instance(kit, id)["reason"])
    assert kit.health(outputs) == {id: "initial"}
    with pytest.raises(GateFailed, match=r"1 initial after 1 s, 1 wanted: .* these codes: \[500\]"):
        targets_healthy(kit.cloud, timeout=1).check(candidate(kit, "sick", outputs))
    kit.delete("sick")


def test_stop_and_up_keep_everything(tmp_path: Path) -> None:
    with running(tmp_path, Lines()) as kit:
        outputs = kit.create("keep", kit.bake("v1"), count=1)
        kit.wait_healthy(outputs, 1)
        kit.point(outputs)
        tables = kit.client("dynamodb")
        tables.put_item(TableName=outputs["Table"], Item={"id": {"S": "kept"}})
        kit.client("ssm").create_document(Name="kept", Content="{}", DocumentType="Command")
        stream = tables.describe_table(TableName=outputs["Table"])["Table"]["LatestStreamArn"]
        public, before = kit.cloud.public_url(DOMAIN), set(kit.health(outputs))
        assert kit.cloud.stop()
        assert not kit.cloud.running() and not kit.cloud.stop()
        with pytest.raises(NotRunning, match="fearless local up"):
            kit.client("s3")

        kit.cloud.ensure(Lines())
        assert kit.cloud.public_url(DOMAIN) == public
        (after,) = kit.wait_healthy(outputs, 1)
        assert after not in before, "an instance is a machine: a new one"
        wait_for(lambda: get(public)[0] == 200)
        assert about(public)["instance"] == after
        tables = kit.client("dynamodb")
        assert "Item" in tables.get_item(TableName=outputs["Table"], Key={"id": {"S": "kept"}})
        assert kit.client("ssm").describe_document(Name="kept")["Document"]["Name"] == "kept"
        found = tables.describe_table(TableName=outputs["Table"])["Table"]["LatestStreamArn"]
        assert found == stream
        assert kit.client("dynamodbstreams").describe_stream(StreamArn=stream)["StreamDescription"]

        check_only_loopback(kit)
        check_sigkill(kit, outputs)
        kit.cloud.reset()
        assert not (kit.cloud.directory.root / "emulator").exists()
        kit.cloud.ensure(Lines())
        assert kit.client("cloudformation").list_stacks()["StackSummaries"] == []


def check_only_loopback(kit: Kit) -> None:
    pids = [p.pid for p in process.marked(kit.cloud.directory.root)]
    assert len(pids) >= 4, "emulator, two Caddies, one app"
    listening = sockets.listening([kit.pid, *pids])
    assert len(listening) >= 5
    assert all(sockets.is_loopback(host) for host, _ in listening), listening


def check_sigkill(kit: Kit, outputs: dict[str, str]) -> None:
    """The daemon's children die with it; the emulator saves; the next `up` works."""
    kit.client("dynamodb").put_item(TableName=outputs["Table"], Item={"id": {"S": "late"}})
    children = process.marked(kit.cloud.directory.root)
    os.kill(kit.pid, signal.SIGKILL)
    wait_for(lambda: not any(child.alive() for child in children))
    assert not kit.cloud.running()
    kit.cloud.ensure(Lines())
    kit.wait_healthy(outputs, 1)
    late = {"id": {"S": "late"}}
    assert "Item" in kit.client("dynamodb").get_item(TableName=outputs["Table"], Key=late)


def test_what_dies_is_brought_back(tmp_path: Path) -> None:
    with running(tmp_path, Lines()) as kit:
        outputs = kit.create("one", kit.bake("v1"), count=1)
        kit.wait_healthy(outputs, 1)
        for caddy in named(kit, "caddy"):
            os.kill(caddy.pid, signal.SIGKILL)
        assert get(kit.url(outputs))[0] == 200, "its socket is the daemon's: requests wait"
        (emulator,) = named(kit, "fearless.local.emulator")
        os.kill(emulator.pid, signal.SIGKILL)
        kit.cloud.ensure(Lines())
        assert kit.cloud.running()
        assert kit.client("cloudformation").list_stacks()["StackSummaries"] == []


def named(kit: Kit, word: str) -> list[process.Identity]:
    """The processes of the cloud with the word in their command line."""
    return [
        found
        for found in process.marked(kit.cloud.directory.root)
        if word in Path(f"/proc/{found.pid}/cmdline").read_text()
    ]


def test_two_commands_at_once_start_one_daemon(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    clouds = [LocalCloud(project(tmp_path), port=18180) for _ in range(3)]
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda cloud: cloud.ensure(Lines()), clouds))
        assert len({(c.status() or {})["pid"] for c in clouds}) == 1
    finally:
        clouds[0].stop()


def test_a_daemon_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = tmp_path / "shadow" / "ministack"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", str(shadow.parent))
    cloud = LocalCloud(project(tmp_path), port=18280)
    with pytest.raises(FearlessError, match=r"did not start: .*broken on purpose.*daemon\.log"):
        cloud.ensure(Lines())
    assert not cloud.running()
    assert process.marked(cloud.directory.root) == []


def test_a_recycled_pid_is_not_the_daemon(tmp_path: Path) -> None:
    cloud = LocalCloud(project(tmp_path))
    cloud.directory.prepare()
    mine = process.identify(os.getpid())
    Running(mine, "http://127.0.0.1:1", 1, DOMAIN, "now").write(cloud.directory)
    assert Running.read(cloud.directory) is not None
    other = process.Identity(os.getpid(), "another boot/1")
    Running(other, "http://127.0.0.1:1", 1, DOMAIN, "now").write(cloud.directory)
    assert Running.read(cloud.directory) is None
    assert cloud.stop() is False


def test_a_port_that_is_taken_between_look_and_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by another cloud that is started at the same moment: it goes to the next one."""
    spawn, taken = launcher._spawn, []

    def late(directory: Any, domain: str, port: int) -> Any:
        if not taken:
            taken.append(sockets.listen(port))
        return spawn(directory, domain, port)

    monkeypatch.setattr(launcher, "_spawn", late)
    with running(tmp_path, Lines()) as kit:
        (listener,) = taken
        assert kit.cloud.running()
        assert kit.cloud.public_url(DOMAIN).rpartition(":")[2] != str(listener.getsockname()[1])
        listener.close()
