"""An embedded cloud for tests: images of a tiny app, small stacks, a load of requests."""

from __future__ import annotations

import http.client
import io
import json
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fearless import oci
from fearless.interfaces import Image
from fearless.local import process
from fearless.local.builder import BUILDER
from fearless.local.cloud import LocalCloud
from fearless.local.deployer import LocalDeployer
from fearless.local.registry import LocalRegistry

HERE = Path(__file__).parent
DOMAIN = "shop.example.test"


def wait_for(condition: Callable[[], Any], seconds: float = 20, what: str = "") -> Any:
    """Poll until the condition holds, and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, what or "did not become true in time"
        time.sleep(0.05)


def project(root: Path) -> Any:
    """What LocalCloud and LocalDeployer need of a project."""
    root.mkdir(parents=True, exist_ok=True)
    made: Any = SimpleNamespace(root=root, domain=DOMAIN)
    made.registry = LocalRegistry(made, "images")
    return made


def layout(where: Path, version: str, mode: str = "good") -> str:
    """Write an image of the tiny app as an OCI layout; its manifest digest."""
    code = (HERE / "app.py").read_text().replace("@version@", version).replace("@mode@", mode)
    data, stream = code.encode(), io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("app/app.py")
        member.size, member.mode = len(data), 0o644
        tar.addfile(member, io.BytesIO(data))
    made = oci.Layout.create(where)
    layer = made.put(stream.getvalue(), oci.LAYER)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Cmd": ["python", "app.py"],
            "WorkingDir": "/app",
            "Env": ["COLOUR=blue"],
            "Labels": {BUILDER: "test"},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    }
    manifest = made.put_image(oci.canonical(config), (layer,))
    made.tag(version, manifest)
    return manifest.digest


@dataclass
class Kit:
    """A LocalCloud of a temporary project, and shortcuts."""

    root: Path
    report: Any
    cloud: LocalCloud = field(init=False)

    def __post_init__(self) -> None:
        self.cloud = LocalCloud(project(self.root), port=18080)

    def client(self, service: str) -> Any:
        return self.cloud.client(service)

    def deployer(self, timeout: float) -> LocalDeployer:
        return LocalDeployer(self.cloud.project, self.cloud, timeout=timeout)

    @property
    def pid(self) -> int:
        return int((self.cloud.status() or {})["pid"])

    def bake(self, version: str, mode: str = "good") -> str:
        """A machine image with the tiny app inside; its id."""
        ami = f"ami-{version}{mode}"
        folder = self.cloud.directory.root / "amis" / ami
        digest = layout(folder / "images", version, mode)
        image = {"repository": "shop", "tag": version, "digest": digest, "image_id": digest}
        manifest = {"id": ami, "app": "shop", "sha": version, "images": [image]}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return ami

    def push(self, version: str, mode: str = "good") -> Image:
        """An image of the tiny app in the registry, which the cloud knows nothing of."""
        digest = layout(self.root / "images" / "shop", version, mode)
        return Image("shop", version, digest, digest)

    def create(self, name: str, ami: str, kind: str = "release", count: int = 2) -> dict[str, str]:
        """Create the small stack; its outputs."""
        values = {
            **self.cloud.parameters(name),
            "ImageId": ami,
            "Kind": kind,
            "DesiredCapacity": str(count),
        }
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=(HERE / "small_stack.yaml").read_text(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()],
            Capabilities=["CAPABILITY_IAM"],
        )

        def outputs() -> dict[str, str] | None:
            stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
            assert "ROLLBACK" not in stack["StackStatus"], stack
            if stack["StackStatus"] != "CREATE_COMPLETE":
                return None
            return {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}

        return dict(wait_for(outputs))

    def delete(self, name: str) -> None:
        self.client("cloudformation").delete_stack(StackName=name)

    def health(self, outputs: dict[str, str]) -> dict[str, str]:
        """Instance id -> state, as ELB describes it."""
        found = self.client("elbv2").describe_target_health(TargetGroupArn=outputs["TargetGroup"])
        return {
            t["Target"]["Id"]: t["TargetHealth"]["State"] for t in found["TargetHealthDescriptions"]
        }

    def wait_healthy(self, outputs: dict[str, str], count: int = 2) -> list[str]:
        """Wait until exactly so many targets are there and all are healthy; their ids."""

        def healthy() -> list[str] | None:
            states = self.health(outputs)
            good = [id for id, state in states.items() if state == "healthy"]
            return good if len(good) == len(states) == count else None

        try:
            return list(wait_for(healthy))
        except AssertionError:
            raise AssertionError(json.dumps(self.cloud.status(), indent=1)) from None

    def url(self, outputs: dict[str, str]) -> str:
        return self.cloud.url(outputs["LoadBalancerDNS"], int(outputs["ListenerPort"]))

    def point(self, outputs: dict[str, str]) -> None:
        """Make the app's name an alias of the stack's load balancer."""
        route53 = self.client("route53")
        zones = route53.list_hosted_zones()["HostedZones"]
        zone = zones[0] if zones else None
        if zone is None:
            made = route53.create_hosted_zone(Name="example.test.", CallerReference="test")
            zone = made["HostedZone"]
        alias = {
            "DNSName": outputs["LoadBalancerDNS"],
            "HostedZoneId": outputs["LoadBalancerZone"],
            "EvaluateTargetHealth": False,
        }
        record = {"Name": f"{DOMAIN}.", "Type": "A", "AliasTarget": alias}
        route53.change_resource_record_sets(
            HostedZoneId=zone["Id"],
            ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]},
        )


class Load:
    """GET requests one after the other in a few threads, each on a connection of its own."""

    def __init__(self, port: int, path: str = "/", threads: int = 3) -> None:
        self.port, self.path = port, path
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", self.path)
                response = connection.getresponse()
                body = response.read()
                if response.status == 200:
                    self.answers[json.loads(body)["version"]] += 1
                else:
                    self.failures.append(f"{response.status} {body[:80]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def running(root: Path, report: Any) -> Iterator[Kit]:
    """A started embedded cloud, stopped at the end whatever happened."""
    kit = Kit(root, report)
    try:
        kit.cloud.ensure(report)
        yield kit
    finally:
        kit.cloud.stop()
        left = process.clear(process.marked(kit.cloud.directory.root), 1)
        assert left == [], "processes outlived the daemon"
