"""What goes wrong with a bucket is one line that says what to do; nothing is left half-done."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber
from conftest import World
from fearless import ConfigError, FearlessError, Image, NotAuthorised
from fearless.oci import Layout
from fearless.testing.contracts import a_release, an_image, explained
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import FakeCloud

from fearless_s3_registry.bucket import Bucket
from fearless_s3_registry.registry import S3Registry

Call = Callable[[S3Registry, Image, Path], object]
CALLS: dict[str, Call] = {
    "find": lambda registry, image, into: registry.find(a_release("shop")),
    "push": lambda registry, image, into: registry.push(image),
    "pull": lambda registry, image, into: registry.pull(image, into),
    "list": lambda registry, image, into: registry.list(),
    "delete": lambda registry, image, into: registry.delete(image),
}


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return an_image(tmp_path / "built", a_release("shop"))


@pytest.mark.parametrize("call", CALLS)
def test_no_such_bucket(world: World, image: Image, tmp_path: Path, call: str) -> None:
    world.bucket = "images-that-are-not-there"
    with explained() as caught:
        CALLS[call](world.registry(), image, tmp_path / "into")
    assert isinstance(caught.value, ConfigError)
    assert "'images-that-are-not-there' does not exist" in str(caught.value)
    assert "`create = true`" in str(caught.value)


@pytest.mark.parametrize("call", CALLS)
def test_a_bucket_in_another_region(
    clients: tuple[Any, Any], image: Image, tmp_path: Path, call: str
) -> None:
    name = f"far-{secrets.token_hex(6)}"
    place: Any = {"LocationConstraint": "eu-west-1"}
    s3 = clients[0]
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=place)
    with explained() as caught:
        CALLS[call](S3Registry(FakeCloud({"s3": s3}), name), image, tmp_path / "into")
    assert isinstance(caught.value, ConfigError)
    assert f"{name!r} is in eu-west-1, and the cloud is us-east-1" in str(caught.value)
    assert s3.list_objects_v2(Bucket=name)["KeyCount"] == 0


def user(emulator: Emulator, *actions: str) -> dict[str, str]:
    """The keys of a user who may do so much."""
    iam, name = emulator.client("iam"), f"u-{secrets.token_hex(4)}"
    iam.create_user(UserName=name)
    if actions:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }


def as_user(world: World, keys: dict[str, str]) -> S3Registry:
    return S3Registry(FakeCloud({"s3": world.emulator.client("s3", **keys)}), world.bucket)


@pytest.fixture(scope="module")
def stranger(fearless_emulator: Emulator) -> dict[str, str]:
    return user(fearless_emulator)


@pytest.mark.parametrize("call", CALLS)
def test_no_permission_at_all(
    world: World, stranger: dict[str, str], image: Image, tmp_path: Path, call: str
) -> None:
    with explained() as caught:
        CALLS[call](as_user(world, stranger), image, tmp_path / "into")
    assert isinstance(caught.value, NotAuthorised)
    assert "s3:ListBucket" in str(caught.value)


@pytest.mark.parametrize("call", ["push", "delete"])
def test_permission_to_read_only(world: World, image: Image, tmp_path: Path, call: str) -> None:
    reader = as_user(world, user(world.emulator, "s3:ListBucket", "s3:GetObject"))
    other = an_image(tmp_path / "other", a_release("shop"))
    world.registry().push(other)
    before = world.listed()
    with explained() as caught:
        CALLS[call](reader, image if call == "push" else other, tmp_path / "into")
    assert isinstance(caught.value, NotAuthorised)
    assert world.listed() == before
    Layout(reader.pull(other, tmp_path / "into")).verify(other.digest)


def test_wrong_keys(world: World) -> None:
    keys = user(world.emulator) | {"aws_secret_access_key": "wrong"}
    with explained() as caught:
        as_user(world, keys).list()
    assert isinstance(caught.value, NotAuthorised)
    assert "wrong" not in str(caught.value)


def test_nobody_answers(image: Image) -> None:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
        config=Config(retries={"max_attempts": 0}),
    )
    with explained() as caught:
        S3Registry(FakeCloud({"s3": client}), "images").push(image)
    assert "127.0.0.1:9" in str(caught.value)


# ---------------------------------------------------------- answers the emulator never gives


@pytest.fixture
def stubbed(fearless_emulator: Emulator) -> tuple[Stubber, Bucket]:
    client = fearless_emulator.client("s3")
    stubber = Stubber(client)
    stubber.activate()
    stubber.add_response("head_bucket", {"BucketRegion": "us-east-1"}, {"Bucket": "images"})
    return stubber, Bucket(FakeCloud({"s3": client}), "images")


def test_a_conflict_is_asked_again(stubbed: tuple[Stubber, Bucket]) -> None:
    stubber, bucket = stubbed
    asked = {"Bucket": "images", "Key": "k", "Body": b"x", "IfNoneMatch": "*"}
    stubber.add_client_error("put_object", "ConditionalRequestConflict", "wait", 409, None, asked)
    stubber.add_response("put_object", {"ETag": '"e"'}, asked)
    assert bucket.put_new("k", b"x") == '"e"'
    stubber.assert_no_pending_responses()


def test_a_conflict_without_end_is_said(stubbed: tuple[Stubber, Bucket]) -> None:
    stubber, bucket = stubbed
    for _ in range(5):
        stubber.add_client_error("put_object", "ConditionalRequestConflict", "wait", 409)
    with pytest.raises(FearlessError, match="s3://images/k: PutObject: ConditionalRequestConflict"):
        bucket.put_new("k", b"x")


def test_an_object_that_cannot_be_deleted_is_said(stubbed: tuple[Stubber, Bucket]) -> None:
    stubber, bucket = stubbed
    wrong = {"Key": "k", "Code": "AccessDenied", "Message": "Access Denied"}
    stubber.add_response("delete_objects", {"Errors": [wrong]}, {"Bucket": "images", "Delete": ANY})
    with pytest.raises(NotAuthorised, match="s3://images/k: DeleteObjects: AccessDenied"):
        bucket.delete_all(["k"])


def test_a_stream_that_breaks_off(stubbed: tuple[Stubber, Bucket], tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, amount: int | None = -1, /) -> bytes:
            raise ReadTimeoutError(endpoint_url="s3")

    stubber, bucket = stubbed
    stubber.add_response("get_object", {"Body": StreamingBody(Broken(), 5)})
    layout = Layout.create(tmp_path)
    with explained(), bucket.open("k") as stream:
        assert stream
        layout.put_stream(stream, "x")
    assert list((tmp_path / "blobs" / "sha256").iterdir()) == []


def test_two_who_make_the_bucket_at_once(fearless_emulator: Emulator) -> None:
    client = fearless_emulator.client("s3")
    with Stubber(client) as stubber:
        stubber.add_client_error("head_bucket", "404", "Not Found", 404)
        stubber.add_client_error("create_bucket", "BucketAlreadyOwnedByYou", "yours", 409)
        stubber.add_response("list_objects_v2", {"Contents": []})
        assert Bucket(FakeCloud({"s3": client}), "images", create=True).keys("") == []


def test_a_bucket_of_somebody_else(fearless_emulator: Emulator) -> None:
    client = fearless_emulator.client("s3")
    with Stubber(client) as stubber:
        stubber.add_client_error("head_bucket", "403", "Forbidden", 403)
        with pytest.raises(NotAuthorised, match="s3://images/: HeadBucket: 403: Forbidden"):
            Bucket(FakeCloud({"s3": client}), "images", create=True).keys("")


def test_what_was_written_by_a_try_whose_answer_was_lost(world: World) -> None:
    bucket = world.registry().bucket
    etag = bucket.put_new("k", b"mine")
    assert etag and bucket.put_new("k", b"mine") == etag
    assert bucket.put_new("k", b"other") is None
    assert bucket.replace("k", b"mine", '"stale"') == etag
    assert bucket.replace("k", b"other", '"stale"') is None
    assert bucket.replace("gone", b"x", etag) is None
    found = bucket.get("k")
    assert found and found.data == b"mine" and 0 <= found.age < 60
