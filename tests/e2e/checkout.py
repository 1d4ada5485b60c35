"""A checkout of this repository in a folder of its own, and `doit` run in it as a user would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import boto3
from botocore.config import Config

from fearless.testing.emulator import free_port

HERE = Path(__file__).resolve().parent.parent.parent
PARTS = ("dodo.py", "release.toml", "templates", "plugins", "packer", "examples/shop")


@dataclass(frozen=True)
class Run:
    """A finished command."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> Run:
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


class Checkout:
    """A git repository with the shop and its ops code, and an embedded cloud of its own."""

    def __init__(self, root: Path, parts: Sequence[str] = PARTS) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__", ".fearless")
        for part in parts:
            source = HERE / part
            (root / part).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=ignore)
            else:
                shutil.copyfile(source, root / part)
        self.git("init", "-q", "-b", "main")
        (root / ".git" / "info" / "exclude").write_text("__pycache__/\n.fearless/\n")
        self.commit("The shop")

    # ------------------------------------------------------------------ git

    def git(self, *argv: str) -> str:
        identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
        done = subprocess.run(
            ["git", "-C", str(self.root), *identity, *argv], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def change_app(self, text: str) -> str:
        """A new commit whose container image is another one."""
        path = self.root / "examples" / "shop" / "shop" / "__init__.py"
        path.write_text(path.read_text() + f"\n# {text}\n")
        return self.commit(text)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new, 1))

    def alone(self) -> Checkout:
        """At a port that no other cloud of this machine is tempted to take while it is stopped."""
        self.edit("release.toml", 'use = "local" ', f'port = {free_port()}\nuse = "local" ')
        self.commit("A port of its own")
        return self

    def small(self) -> Checkout:
        """With a production of some 1,100 items instead of 20,000, for tests of something else."""
        self.edit("examples/shop/seed/data.py", "STORES = 60", "STORES = 6")
        self.edit("examples/shop/seed/data.py", "ORDERS = 13_700", "ORDERS = 400")
        self.edit("examples/shop/seed/data.py", "CARTS = 800", "CARTS = 40")
        self.commit("A small production")
        return self

    # ------------------------------------------------------------------ commands

    def env(self, **more: str) -> dict[str, str]:
        names = ("CI", "AWS_ENDPOINT_URL", "AWS_PROFILE")
        env = {key: value for key, value in os.environ.items() if key not in names}
        return {**env, "PYTHONUNBUFFERED": "1", **more}

    def start(self, *argv: str, out: IO[Any] | int = subprocess.PIPE, **env: str) -> Any:
        """Start a command of our environment without waiting for it."""
        command = Path(sys.executable).parent / argv[0]
        return subprocess.Popen(
            [str(command), *argv[1:]],
            cwd=self.root,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: str, timeout: float = 240, **env: str) -> Run:
        began = time.monotonic()
        process = self.start(*argv, **env)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{argv} took over {timeout} s\n{out}\n{err}") from None
        return Run(process.returncode, out, err, time.monotonic() - began)

    def doit(self, *argv: str, timeout: float = 240, **env: str) -> Run:
        return self.run("doit", *argv, timeout=timeout, **env)

    def kill_during(self, before: str, *argv: str, delay: float = 0.0, **env: str) -> bool:
        """Start doit, SIGKILL it `delay` seconds after a line that starts with `before`.

        That is the line of the step before the one to kill; an empty one is the moment of the
        start. False when doit had ended by itself.
        """
        process = self.start("doit", *argv, **env)
        try:
            for line in process.stdout if before else ():
                if line.split(" (")[0].strip().startswith(before):
                    break
            with suppress(subprocess.TimeoutExpired):
                process.wait(delay)
        finally:
            process.kill()
            process.communicate()
        return bool(process.returncode == -signal.SIGKILL)

    # ------------------------------------------------------------------ the cloud

    def cloud(self) -> dict[str, Any]:
        """What the daemon wrote of itself."""
        found: dict[str, Any] = json.loads((self.root / ".fearless" / "cloud.json").read_text())
        return found

    def client(self, service: str) -> Any:
        """boto3 on the embedded cloud, as root."""
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.cloud()["emulator"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(account_id_endpoint_mode="disabled"),
        )

    def inventory(self) -> dict[str, list[str]]:
        """What every API lists: what must be as before when something was dropped."""
        return inventory(self.client, self.root / ".fearless")

    def close(self) -> None:
        """Stop the cloud."""
        if (self.root / ".fearless" / "cloud.json").exists():
            self.run("fearless", "local", "stop", timeout=60)


class Installed(Checkout):
    """A repository worked on with what is installed in another environment; `bin` is its folder."""

    def __init__(self, root: Path, bin: Path, parts: Sequence[str] = PARTS) -> None:
        super().__init__(root, parts)
        self.bin = bin

    def start(self, *argv: str, out: IO[Any] | int = subprocess.PIPE, **env: str) -> Any:
        env = {**self.env(**env), "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}
        env.pop("VIRTUAL_ENV", None)
        own = self.bin / argv[0]
        return subprocess.Popen(
            [str(own) if own.exists() else argv[0], *argv[1:]],
            cwd=self.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )


def still(live: dict[str, Any]) -> dict[str, Any]:
    """What `doit status` says of the live stack, but for what moves: how far its way back is."""
    return {**live, "way_back": {**live["way_back"], "lag": None}}


def inventory(client: Any, directory: Path) -> dict[str, list[str]]:
    """Names and ids of everything a stack is made of, API by API, sorted."""
    ec2 = client("ec2")
    instances = [
        i["InstanceId"]
        for r in ec2.describe_instances()["Reservations"]
        for i in r["Instances"]
        if i["State"]["Name"] not in ("terminated", "shutting-down")
    ]
    elb, iam, scaling = client("elbv2"), client("iam"), client("autoscaling")
    found = {
        "stacks": [s["StackId"] for s in client("cloudformation").describe_stacks()["Stacks"]],
        "tables": client("dynamodb").list_tables()["TableNames"],
        "instances": instances,
        "vpcs": [v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"]],
        "subnets": [v["SubnetId"] for v in ec2.describe_subnets()["Subnets"]],
        "routes": [v["RouteTableId"] for v in ec2.describe_route_tables()["RouteTables"]],
        "gateways": [
            v["InternetGatewayId"] for v in ec2.describe_internet_gateways()["InternetGateways"]
        ],
        "endpoints": [v["VpcEndpointId"] for v in ec2.describe_vpc_endpoints()["VpcEndpoints"]],
        "records": records(client("route53")),
        "groups": [v["GroupId"] for v in ec2.describe_security_groups()["SecurityGroups"]],
        "templates": [
            t["LaunchTemplateId"] for t in ec2.describe_launch_templates()["LaunchTemplates"]
        ],
        "balancers": [b["LoadBalancerArn"] for b in elb.describe_load_balancers()["LoadBalancers"]],
        "targets": [t["TargetGroupArn"] for t in elb.describe_target_groups()["TargetGroups"]],
        "scaling": [
            g["AutoScalingGroupName"]
            for g in scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        ],
        "roles": [r["RoleName"] for r in iam.list_roles()["Roles"]],
        "profiles": [
            p["InstanceProfileName"] for p in iam.list_instance_profiles()["InstanceProfiles"]
        ],
        "parameters": [p["Name"] for p in client("ssm").describe_parameters()["Parameters"]],
        "logs": [g["logGroupName"] for g in client("logs").describe_log_groups()["logGroups"]],
        "amis": [p.name for p in (directory / "amis").glob("ami-*")],
        "deployed": [p.name for p in (directory / "deployed").glob("*")],
        "images": [
            str(p.relative_to(directory)) for p in (directory / "registry").rglob("blobs/*/*")
        ],
    }
    return {name: sorted(values) for name, values in found.items()}


def records(route53: Any) -> list[str]:
    """Every record of every zone: its name, type, and what it points at."""
    return [
        f"{record['Name']} {record['Type']} {record.get('AliasTarget', {}).get('DNSName', '')}"
        for zone in route53.list_hosted_zones()["HostedZones"]
        for record in route53.list_resource_record_sets(HostedZoneId=zone["Id"])[
            "ResourceRecordSets"
        ]
    ]
