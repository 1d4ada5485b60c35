"""Deleting beside pushes and other deletions, at every moment, killed or not."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from conftest import Killed, World, killed_at
from fearless import FearlessError, Image
from fearless.oci import CorruptImage, Layout
from fearless.testing.contracts import a_release, an_image, explained

from fearless_s3_registry import collection

MARK = "shop/collecting"


@pytest.fixture
def old(world: World, tmp_path: Path) -> Image:
    """An image that was pushed. It shares its base layer with the next."""
    return world.registry().push(built(tmp_path, "old"))


@pytest.fixture
def new(tmp_path: Path) -> Image:
    """An image that was not."""
    return built(tmp_path, "new")


def built(tmp_path: Path, text: str) -> Image:
    return an_image(tmp_path / text, a_release("shop"), text)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for others."""
    monkeypatch.setattr(collection, "WAIT_SECONDS", -1)


def whole(world: World, image: Image, into: Path) -> bool:
    return bool(Layout(world.registry().pull(image, into)).verify(image.digest))


def test_with_the_last_tag_everything_goes(world: World, old: Image) -> None:
    world.registry().delete(old)
    assert not world.listed()


def test_a_deletion_at_any_moment_of_a_push(world: World, tmp_path: Path) -> None:
    old, new = built(tmp_path, "old"), built(tmp_path, "new")
    for call in count(1):
        here = world.another()
        here.registry().push(old)
        deleted = []

        def before(number: int, operation: str, call=call, here=here, deleted=deleted) -> None:
            if number == call:
                here.registry().delete(old)
                deleted.append(operation)

        pushed = here.watched(before).push(new)
        if not deleted:
            break
        assert whole(here, pushed, tmp_path / f"{call}"), f"deleted at call {call}"
        assert len(here.blobs()) == 4, f"at call {call} what only the old one needed was left"
    assert call > 10


def test_a_push_at_any_moment_of_a_deletion(world: World, tmp_path: Path, impatient: None) -> None:
    old, new = built(tmp_path, "old"), built(tmp_path, "new")
    waited = 0
    for call in count(1):
        here = world.another()
        here.registry().push(old)
        tried: list[Image | None] = []

        def before(number: int, operation: str, call=call, here=here, tried=tried) -> None:
            if number == call:
                try:
                    tried.append(here.registry().push(new))
                except FearlessError as error:
                    assert "are being collected by" in str(error)
                    tried.append(None)

        here.watched(before).delete(old)
        if not tried:
            break
        waited += tried[0] is None
        pushed = tried[0] or here.registry().push(new)
        assert whole(here, pushed, tmp_path / f"{call}"), f"pushed at call {call}"
    assert 0 < waited < call - 1


def test_a_deletion_killed_at_any_call(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = built(tmp_path, "old"), built(tmp_path, "new")
    for call in count(1):
        here = world.another()
        here.registry().push(old)
        here.registry().push(new)
        try:
            here.watched(killed_at(call)).delete(old)
            break
        except Killed:
            assert whole(here, new, tmp_path / f"{call}"), f"killed at call {call}"
        with monkeypatch.context() as later:
            later.setattr(collection, "MARK_SECONDS", -1)
            here.registry().delete(old)
        assert set(here.listed()) - set(here.blobs()) == {f"shop/tags/{new.tag}"}
        assert len(here.blobs()) == 4, f"killed at call {call}, something was left for ever"
    assert call > 8


def test_a_killed_collection_is_named_with_the_time_its_mark_ends(
    world: World, old: Image, new: Image, impatient: None
) -> None:
    dead = []

    def before(number: int, operation: str) -> None:
        if dead or operation == "DeleteObjects":
            dead.append(operation)
            raise Killed

    with pytest.raises(Killed):
        world.watched(before).delete(old)
    for refused in (lambda: world.registry().push(new), lambda: world.registry().delete(old)):
        with explained() as caught:
            refused()
        assert "the blobs of shop are being collected by" in str(caught.value)
        assert "UTC; try again then" in str(caught.value)
    assert not [key for key in world.listed() if "/pins/" in key], "who gave up left its pin"


def test_a_push_waits_for_a_collection_to_end(
    world: World, old: Image, new: Image, tmp_path: Path
) -> None:
    world.s3.put_object(Bucket=world.bucket, Key=MARK, Body=b'{"by": "ann"}')
    asked = []

    def before(number: int, operation: str) -> None:
        asked.append(operation)
        if asked.count("GetObject") == 4:
            world.s3.delete_object(Bucket=world.bucket, Key=MARK)

    assert whole(world, world.watched(before).push(new), tmp_path / "pulled")


def test_what_a_killed_push_sent_is_kept_for_a_day(
    world: World, old: Image, new: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = []

    def before(number: int, operation: str) -> None:
        if dead or len(world.blobs()) == 6:
            dead.append(operation)
            raise Killed

    with pytest.raises(Killed):
        world.watched(before).push(new)
    world.registry().delete(old)
    assert len(world.blobs()) == 3, "of a new layer, a new configuration, and the shared layer"
    monkeypatch.setattr(collection, "PIN_SECONDS", -1)
    world.registry().delete(old)
    assert not world.listed()


def test_a_push_that_took_over_a_day_writes_no_tag(
    world: World, old: Image, new: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While it was asleep, a collection took its pin for one that a killed push had left."""
    slept = []

    def before(number: int, operation: str) -> None:
        if len(world.blobs()) == 7 and operation == "PutObject" and not slept:
            slept.append(number)
            with monkeypatch.context() as later:
                later.setattr(collection, "PIN_SECONDS", -1)
                world.registry().delete(old)

    with explained() as caught:
        world.watched(before).push(new)
    assert "the push took over a day" in str(caught.value)
    assert not world.registry().list()
    assert whole(world, world.registry().push(new), tmp_path / "pulled")


def test_a_collection_whose_mark_was_taken_deletes_nothing_more(world: World, old: Image) -> None:
    """It was asleep for longer than its mark is good for."""
    puts = []

    def before(number: int, operation: str) -> None:
        if operation == "PutObject":
            puts.append(number)
            if len(puts) == 2:
                world.s3.delete_object(Bucket=world.bucket, Key=MARK)

    there = world.blobs()
    world.watched(before).delete(old)
    assert len(puts) == 2
    assert world.blobs() == there


def test_nothing_is_deleted_while_an_image_cannot_be_read(
    world: World, old: Image, new: Image
) -> None:
    world.registry().push(new)
    key = f"shop/blobs/{new.digest.replace(':', '/')}"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"{}")
    there = world.blobs()
    with pytest.raises(CorruptImage):
        world.registry().delete(old)
    assert world.blobs() == there
    assert MARK not in world.listed()


def test_more_blobs_than_one_request_deletes(
    world: World, old: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "BATCH", 3)
    asked: list[str] = []
    world.watched(lambda _, operation: asked.append(operation)).delete(old)
    assert asked.count("DeleteObjects") == 2
    assert not world.listed()


def test_a_mark_and_a_pin_are_others_once_they_are_renewed(
    world: World, old: Image, new: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that who saw them old, a moment before, does not delete them."""
    seen: dict[str, set[str]] = {"pins": set(), "collecting": set()}

    def before(number: int, operation: str) -> None:
        for entry in world.s3.list_objects_v2(Bucket=world.bucket)["Contents"]:
            seen.get(entry["Key"].split("/")[1], set()).add(entry["ETag"])

    world.watched(before).push(new)
    assert len(seen["pins"]) == 2
    monkeypatch.setattr(collection, "BATCH", 1)
    world.watched(before).delete(new)
    assert len(seen["collecting"]) == 4, "of three blobs, each deleted under another one"


def test_a_tag_that_was_pushed_anew_is_not_deleted(world: World, old: Image, new: Image) -> None:
    """Somebody deletes what another has just replaced."""
    world.registry().delete(old)
    again = Image("shop", old.tag, new.digest, new.image_id, new.source)
    world.registry().push(again)
    world.registry().delete(old)
    assert [image.digest for image in world.registry().list()] == [new.digest]
