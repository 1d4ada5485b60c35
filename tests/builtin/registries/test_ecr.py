"""ECR's own ways: repositories and their rules, passwords that expire, lists in batches.

What the emulator does not have (scan results, pages, a token near its end) is answered by a stub
whose requests and answers botocore checks against AWS's own model.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fearless.builtin.registries import ecr_repository
from fearless.builtin.registries.ecr import Ecr, scan
from fearless.builtin.registries.ecr_login import Logins
from fearless.builtin.registries.ecr_repository import IMMUTABLE, deviations, policy, request
from fearless.errors import ConfigError, FearlessError, NotAuthorised, Refused
from fearless.interfaces import Image
from fearless.oci import canonical, digest_of
from fearless.testing.contracts.given import a_release, an_image
from fearless.testing.emulator import Emulator
from tests.builtin.clouds import EmulatorCloud, killed
from tests.builtin.registries.given import Project
from tests.docker_registry import Registries

pytest_plugins = ["tests.docker_registry"]
ACCOUNT = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def cloud(emulator: Emulator) -> EmulatorCloud:
    return EmulatorCloud(emulator)


def provider_of(cloud: Any, app: str = "shop", **settings: Any) -> Ecr:
    if isinstance(cloud, EmulatorCloud):
        settings.setdefault("endpoint", cloud.emulator.url)
    return Ecr(Project(app), cloud, **settings)  # type: ignore[arg-type]


# ------------------------------------------------------------------------ the repository


def test_the_first_push_makes_the_repository(cloud: EmulatorCloud, tmp_path: Path) -> None:
    release = a_release("ecr-first")
    provider = provider_of(cloud, release.app, prefix="team/", untagged_days=3)
    assert provider.find(release) is None
    assert list(provider.list()) == []
    assert list(provider.deviations()) == []
    provider.push(an_image(tmp_path / "one", release))
    client = cloud.client("ecr")
    (made,) = client.describe_repositories(repositoryNames=["team/ecr-first"])["repositories"]
    assert made["imageTagMutability"] == IMMUTABLE
    assert [f["filter"] for f in made["imageTagMutabilityExclusionFilters"]] == [
        "branch-*",
        "cache-*",
    ]
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    tags = client.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    assert tags == [{"Key": "fearless:app", "Value": "ecr-first"}]
    text = client.get_lifecycle_policy(repositoryName="team/ecr-first")["lifecyclePolicyText"]
    (rule,) = json.loads(text)["rules"]
    assert rule["selection"] == {
        "tagStatus": "untagged",
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": 3,
    }
    assert list(provider.deviations()) == []
    cloud.calls.clear()
    provider.push(an_image(tmp_path / "two", a_release("ecr-first"), "two"))
    assert "CreateRepository" not in cloud.calls and "PutLifecyclePolicy" not in cloud.calls


def test_a_repository_left_half_made_is_finished(cloud: EmulatorCloud, tmp_path: Path) -> None:
    release = a_release("ecr-half")
    image = an_image(tmp_path / "one", release)
    cloud.before["PutLifecyclePolicy"] = killed
    with pytest.raises(KeyboardInterrupt):
        provider_of(cloud, release.app).push(image)
    cloud.before.clear()
    provider = provider_of(cloud, release.app)
    assert provider.find(release) is None
    assert provider.deviations() != []
    provider.push(image)
    assert list(provider.deviations()) == []


def test_a_repository_of_somebody_else_is_left_as_it_is(
    cloud: EmulatorCloud, tmp_path: Path
) -> None:
    release = a_release("ecr-theirs")
    client = cloud.client("ecr")
    client.create_repository(repositoryName="ecr-theirs")
    provider = provider_of(cloud, release.app)
    provider.push(an_image(tmp_path / "one", release))
    with pytest.raises(client.exceptions.LifecyclePolicyNotFoundException):
        client.get_lifecycle_policy(repositoryName="ecr-theirs")
    told = "\n".join(provider.deviations())
    for part in ("MUTABLE", "not scanned", "no lifecycle policy"):
        assert part in told
    with pytest.raises(Refused):  # our own look, where ECR would let it move
        provider.push(an_image(tmp_path / "two", release, "two"))


def test_two_processes_make_one_repository(cloud: EmulatorCloud, tmp_path: Path) -> None:
    release = a_release("ecr-race")

    def quicker() -> None:
        del cloud.before["CreateRepository"]
        ecr_repository.ensure(cloud.client("ecr"), "ecr-race", "ecr-race", 14)

    cloud.before["CreateRepository"] = quicker
    provider = provider_of(cloud, release.app)
    assert provider.push(an_image(tmp_path / "one", release)) == provider.find(release)


def repository(**facts: Any) -> dict[str, Any]:
    return {**request("shop", "shop"), **facts}


@pytest.mark.parametrize(
    ("facts", "lifecycle", "said"),
    [
        ({}, policy(14), ()),
        ({}, policy(90), ()),
        ({"imageTagMutability": "MUTABLE"}, policy(14), ("may be moved by others",)),
        ({"imageTagMutability": "IMMUTABLE"}, policy(14), ("no tag may move",)),
        (
            {"imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "*"}]},
            policy(14),
            ("the tags that may move are *",),
        ),
        ({"imageScanningConfiguration": {"scanOnPush": False}}, policy(14), ("not scanned",)),
        ({}, None, ("no lifecycle policy",)),
        (
            {},
            '{"rules": [{"rulePriority": 7, "selection": {"tagStatus": "any"}}]}',
            ("rule 7 of its lifecycle policy expires images that have a tag",),
        ),
        ({"imageTagMutability": "MUTABLE"}, None, ("may be moved", "no lifecycle policy")),
    ],
)
def test_what_deviates_is_said(
    facts: dict[str, Any], lifecycle: str | None, said: tuple[str, ...]
) -> None:
    found = deviations(repository(**facts), lifecycle)
    assert len(found) == len(said)
    for line, part in zip(found, said, strict=True):
        assert part in line and line.startswith("ECR repository shop: ")


def test_images_travel_to_the_endpoint_with_ecrs_password(
    cloud: EmulatorCloud, registries: Registries, tmp_path: Path
) -> None:
    """A real registry that wants the password the emulator's ECR gives."""
    login = provider_of(cloud).login()
    registry, release = registries((login.username, login.password)), a_release("ecr-travel")
    provider = provider_of(cloud, release.app, endpoint=registry.url)
    pushed = provider.push(an_image(tmp_path / "one", release))
    assert registry.tags("ecr-travel") == [release.sha]
    assert provider.find(release) == pushed
    provider.pull(pushed, tmp_path / "pulled")
    told = provider.login()
    assert (told.server, told.password) == (registry.host, login.password)


# ------------------------------------------------------------------------ with a stub


class StubCloud:
    """A cloud with one client, each of whose answers a test gives."""

    region = "eu-west-1"

    def __init__(self) -> None:
        make: Any = boto3.client
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
        self.ecr = make("ecr", region_name=self.region, endpoint_url="http://127.0.0.1:1", **keys)
        self.stub = Stubber(self.ecr)

    def client(self, service: str) -> Any:
        assert service == "ecr"
        return self.ecr


@pytest.fixture
def stubbed() -> Iterator[StubCloud]:
    cloud = StubCloud()
    with cloud.stub:
        yield cloud
    cloud.stub.assert_no_pending_responses()


def token(stub: Stubber, password: str, until: float) -> None:
    data = {
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": datetime.fromtimestamp(until, UTC),
        "proxyEndpoint": f"https://{ACCOUNT}",
    }
    stub.add_response("get_authorization_token", {"authorizationData": [data]})


def test_a_password_is_renewed_when_an_hour_or_less_is_left(stubbed: StubCloud) -> None:
    now = [0.0]
    logins = Logins(lambda: stubbed.ecr, clock=lambda: now[0])
    token(stubbed.stub, "one", 12 * 3600)
    token(stubbed.stub, "two", 24 * 3600)
    for moment, password in (
        (0, "one"),
        (11 * 3600, "one"),
        (11 * 3600 + 1, "two"),
        (80000, "two"),
    ):
        now[0] = moment
        login = logins.get()
        assert (login.server, login.username, login.password) == (ACCOUNT, "AWS", password)
        assert password not in repr(login)


def test_without_the_right_to_a_password_it_is_not_authorised(stubbed: StubCloud) -> None:
    stubbed.stub.add_client_error("get_authorization_token", "AccessDeniedException", "no", 400)
    with pytest.raises(NotAuthorised, match="asking ECR for a password"):
        provider_of(stubbed).login()


def test_the_name_is_of_the_account_and_region(stubbed: StubCloud) -> None:
    token(stubbed.stub, "one", 4e9)
    provider = provider_of(stubbed, prefix="team/")
    assert provider.name("shop", "branch-main") == f"{ACCOUNT}/team/shop:branch-main"
    assert provider.address().url == f"https://{ACCOUNT}"


def manifest(number: int) -> tuple[str, str, str]:
    """A manifest's text, its digest and its image's id."""
    image_id = f"sha256:{number:064x}"
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": image_id,
        "size": 1,
    }
    data = canonical({"schemaVersion": 2, "config": config, "layers": []})
    return data.decode(), digest_of(data), image_id


def test_a_list_comes_in_pages_and_its_manifests_in_batches(
    stubbed: StubCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fearless.builtin.registries.ecr.BATCH", 2)
    pushed, stub = datetime(2026, 11, 1, tzinfo=UTC), stubbed.stub
    made = [manifest(number) for number in range(3)]
    details: list[dict[str, Any]] = [
        {
            "imageDigest": digest,
            "imageTags": [f"{number:040x}", *(["branch-main"] if number == 1 else [])],
            "imageSizeInBytes": 10 + number,
            "imagePushedAt": pushed,
        }
        for number, (_, digest, _) in enumerate(made)
    ]
    details[2]["imageScanStatus"] = {"status": "COMPLETE"}
    details[2]["imageScanFindingsSummary"] = {"findingSeverityCounts": {"LOW": 7, "CRITICAL": 1}}
    asked = {"repositoryName": "shop", "filter": {"tagStatus": "TAGGED"}}
    stub.add_response("describe_images", {"imageDetails": details[:2], "nextToken": "n"}, asked)
    more = {**asked, "nextToken": "n"}
    stub.add_response("describe_images", {"imageDetails": details[2:]}, more)
    for batch in (made[:2], made[2:]):
        images = [
            {
                "imageId": {"imageDigest": digest},
                "imageManifest": text,
                "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
            }
            for text, digest, _ in batch
        ]
        stub.add_response("batch_get_image", {"images": images, "failures": []})
    token(stub, "one", 4e9)
    found = provider_of(stubbed).stored()
    assert [(one.image.tag, one.image.digest, one.image.image_id) for one in found] == [
        (f"{0:040x}", *made[0][1:]),
        (f"{1:040x}", *made[1][1:]),
        (f"{2:040x}", *made[2][1:]),
        ("branch-main", *made[1][1:]),
    ]
    assert [one.size for one in found] == [10, 11, 12, 11]
    assert {one.created for one in found} == {pushed}
    assert [one.note for one in found] == ["", "", "scan: 1 critical, 7 low", ""]
    assert found[0].image.source == f"registry:{ACCOUNT}/shop@{made[0][1]}"


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ({}, ""),
        ({"imageScanStatus": {"status": "COMPLETE"}}, "scan: nothing found"),
        ({"imageScanStatus": {"status": "UNSUPPORTED_IMAGE"}}, "scan: unsupported image"),
        ({"imageScanStatus": {"status": "IN_PROGRESS"}}, "scan: in progress"),
        (
            {
                "imageScanFindingsSummary": {
                    "findingSeverityCounts": {"MEDIUM": 2, "HIGH": 3, "X": 1}
                }
            },
            "scan: 3 high, 2 medium, 1 x",
        ),
    ],
)
def test_a_scan_in_words(detail: dict[str, Any], said: str) -> None:
    assert scan(detail) == said


def deleting(stubbed: StubCloud, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    """Delete `shop:<sha>`, which is there, with that failure code in ECR's answer."""
    _, digest, image_id = manifest(1)
    monkeypatch.setattr(Ecr, "held", lambda *_: digest)
    told = {"imageTag": "a" * 40}
    answer: dict[str, Any] = {"imageIds": [{**told, "imageDigest": digest}], "failures": []}
    if failure:
        entry = {"imageId": told, "failureCode": failure, "failureReason": "because"}
        answer = {"failures": [entry]}
    by_tag = {"repositoryName": "shop", "imageIds": [{"imageTag": "a" * 40}]}
    stubbed.stub.add_response("batch_delete_image", answer, by_tag)
    provider_of(stubbed).delete(Image("shop", "a" * 40, digest, image_id))


@pytest.mark.parametrize("failure", ["", "ImageNotFound"])
def test_a_tag_is_deleted_alone(
    stubbed: StubCloud, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    deleting(stubbed, monkeypatch, failure)


def test_what_ecr_does_not_delete_is_said(
    stubbed: StubCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FearlessError, match=r"does not delete shop:a{40}: because"):
        deleting(stubbed, monkeypatch, "ImageReferencedByManifestList")


# ------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"endpoint": "127.0.0.1:4566"}, "a URL"),
        ({"prefix": "Team/"}, "lower-case"),
        ({"untagged_days": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        provider_of(None, **settings)
