"""Pushing and pulling: what is sent, what is not sent twice, and what is damaged."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier

import pytest
from conftest import Killed, World, killed_at
from fearless import Image, Refused, Release
from fearless.oci import CorruptImage, Layout
from fearless.testing.contracts import a_release, an_image
from fearless.testing.fakes import FakeCloud

from fearless_s3_registry.bucket import Bucket
from fearless_s3_registry.registry import S3Registry

MIB = 1 << 20


@pytest.fixture
def release() -> Release:
    return a_release("shop")


@pytest.fixture
def image(tmp_path: Path, release: Release) -> Image:
    return an_image(tmp_path / "built", release)


def test_the_bucket_holds_an_image_layout(world: World, image: Image, tmp_path: Path) -> None:
    world.registry().push(image)
    layout = Layout(tmp_path / "built")
    hexes = {path.name for path in layout.path(image.digest).parent.iterdir()}
    tag = f"shop/tags/{image.tag}"
    assert set(world.listed()) == {tag, *(f"shop/blobs/sha256/{name}" for name in hexes)}
    entry = json.loads(world.s3.get_object(Bucket=world.bucket, Key=tag)["Body"].read())
    assert entry["digest"] == image.digest
    assert entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"


def test_a_bucket_that_holds_other_things(world: World, image: Image) -> None:
    for key in ("notes.txt", "Logs/2026/x", "logs/x", "shop/tags/", "shop/blobs/sha256/"):
        world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"")
    before = world.listed()
    registry = world.registry()
    registry.push(image)
    assert [one.tag for one in registry.list()] == [image.tag]
    registry.delete(image)
    assert world.listed() == before


def test_layers_that_are_there_are_not_sent_again(world: World, tmp_path: Path) -> None:
    sent: list[str] = []
    registry = world.watched(lambda _, operation: sent.append(operation))
    registry.push(an_image(tmp_path / "one", a_release("shop"), "one"))
    before, sent[:] = sent.count("PutObject"), []
    registry.push(an_image(tmp_path / "two", a_release("shop"), "two"))
    assert before - sent.count("PutObject") == 1, "the base layer is in both"


def test_killed_at_any_call_there_is_no_tag_and_the_next_push_goes_on(
    world: World, image: Image, release: Release, tmp_path: Path
) -> None:
    for call in count(1):
        here = world.another()
        try:
            here.watched(killed_at(call)).push(image)
            break
        except Killed:
            there = here.blobs()
        found = here.registry().find(release)
        assert found is None or found.digest == image.digest
        pushed = here.registry().push(image)
        assert there.items() <= here.blobs().items(), f"killed at call {call}, all was sent again"
        Layout(here.registry().pull(pushed, tmp_path / f"{call}")).verify(image.digest)
    assert call > 10


DIES = """
import os, signal, sys
from fearless import Image
from fearless.testing.emulator import Emulator
from fearless.testing.fakes import FakeCloud
from fearless_s3_registry.bucket import Bucket
from fearless_s3_registry.registry import S3Registry
from fearless_s3_registry.registry import S3Registry

url, bucket, *image = sys.argv[1:]
client = Emulator(url).client("s3")
parts = []

def sent(**_):
    parts.append(1)
    if len(parts) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

client.meta.events.register("after-call.s3.UploadPart", sent)
cloud = FakeCloud({"s3": client})
registry = S3Registry(cloud, bucket)
registry.bucket = Bucket(cloud, bucket, multipart=5 << 20)
registry.push(Image(*image))
"""


def test_a_large_layer_is_sent_in_parts_and_sigkill_leaves_nothing_half_done(
    world: World, release: Release, tmp_path: Path
) -> None:
    image = an_image(tmp_path / "built", release, secrets.token_hex(8 * MIB))
    fields = (image.repository, image.tag, image.digest, image.image_id, image.source)
    died = subprocess.run([sys.executable, "-c", DIES, world.emulator.url, world.bucket, *fields])
    assert died.returncode == -signal.SIGKILL
    assert world.registry().find(release) is None
    layers = Layout(tmp_path / "built").manifest(image.digest).layers
    key = next(f"shop/blobs/{b.digest.replace(':', '/')}" for b in layers if b.size > MIB)
    assert key not in world.listed()

    registry = world.registry()
    cloud = FakeCloud({"s3": world.emulator.client("s3")})
    registry.bucket = Bucket(cloud, world.bucket, multipart=5 * MIB)
    pushed = registry.push(image)
    Layout(registry.pull(pushed, tmp_path / "pulled")).verify(image.digest)
    assert world.s3.head_object(Bucket=world.bucket, Key=key)["ETag"].endswith('-4"')


@pytest.mark.parametrize("texts", [("one", "one"), ("one", "two")])
def test_two_pushers_at_once(
    world: World, release: Release, tmp_path: Path, texts: tuple[str, str]
) -> None:
    start = Barrier(2)

    def push(number: int) -> Image | None:
        image = an_image(tmp_path / str(number), release, texts[number])
        cloud = FakeCloud({"s3": world.emulator.client("s3")})
        registry = S3Registry(cloud, world.bucket)
        start.wait()
        try:
            return registry.push(image)
        except Refused:
            return None

    with ThreadPoolExecutor(2) as pool:
        pushed = [image for image in pool.map(push, range(2)) if image]
    found = world.registry().find(release)
    assert found is not None
    assert {image.digest for image in pushed} == {found.digest}
    assert len(pushed) == (2 if len(set(texts)) == 1 else 1)
    Layout(world.registry().pull(found, tmp_path / "pulled")).verify(found.digest)


def test_a_tampered_layer_is_found_when_pulled_and_repaired_when_pushed(
    world: World, image: Image, tmp_path: Path
) -> None:
    registry = world.registry()
    registry.push(image)
    layer = Layout(tmp_path / "built").manifest(image.digest).layers[1]
    key = f"shop/blobs/{layer.digest.replace(':', '/')}"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"x" * layer.size)
    into = tmp_path / "pulled"
    with pytest.raises(CorruptImage, match=layer.digest):
        registry.pull(image, into)
    assert not Layout(into).path(layer.digest).exists()
    assert Layout(into).tags() == {}

    registry.push(image)
    Layout(registry.pull(image, into)).verify(image.digest)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff"])
def test_a_tampered_manifest_and_a_tampered_tag(
    world: World, image: Image, release: Release, tmp_path: Path, body: bytes
) -> None:
    registry = world.registry()
    registry.push(image)
    key = f"shop/blobs/{image.digest.replace(':', '/')}"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=body)
    with pytest.raises(CorruptImage, match="damaged or replaced"):
        registry.pull(image, tmp_path / "pulled")
    world.s3.put_object(Bucket=world.bucket, Key=f"shop/tags/{image.tag}", Body=body)
    for ask in (lambda: registry.find(release), registry.list, lambda: registry.push(image)):
        with pytest.raises(CorruptImage):
            ask()


def test_a_pull_goes_on_where_it_stopped(world: World, image: Image, tmp_path: Path) -> None:
    world.registry().push(image)
    into = tmp_path / "pulled"
    with pytest.raises(Killed):
        world.watched(killed_at(5)).pull(image, into)
    got: list[str] = []
    world.watched(lambda _, operation: got.append(operation)).pull(image, into)
    assert got.count("GetObject") < 4, "the manifest, and what was missing"
    Layout(into).verify(image.digest)
