"""What is deployed is a digest or an id, never a tag: tags are for people and for caches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.commands import ROOT

DEPLOYED = ("templates", "packer")
COMMAND = re.compile(r"\bdocker\s+(?:image\s+|container\s+)?(?:run|pull|create)\b(.*)", re.DOTALL)
BY_ID = re.compile(r"\$\{?IMAGE\b\}?|\S+@sha256:[0-9a-f]{64}|sha256:[0-9a-f]{64}")


def lines(text: str) -> Iterator[str]:
    """The lines of a script or a unit, those that go on joined."""
    yield from re.sub(r"\\\n\s*", " ", text).splitlines()


def by_tag(text: str) -> list[str]:
    """The docker commands that run or pull an image by anything but its id or digest."""
    found = []
    for line in lines(text):
        match = COMMAND.search(line)
        if match and not line.lstrip().startswith("#"):
            words = match[1].split()
            if not any(BY_ID.fullmatch(word.strip("\"'")) for word in words):
                found.append(line.strip())
    return found


def files() -> list[Path]:
    folders = [ROOT / folder for folder in DEPLOYED]
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_deployed_by_a_tag(path: Path) -> None:
    assert by_tag(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("docker run --rm --pull=never ${IMAGE}", 0),
        ('docker run "$IMAGE"', 0),
        ("docker pull quay.io/shop@sha256:" + "0" * 64, 0),
        ("docker run \\\n  --rm \\\n  ${IMAGE}", 0),
        ("# docker run shop:latest", 0),
        ("docker pull shop:latest", 1),
        ("ExecStart=/usr/bin/docker run --rm shop:${SHA}", 1),
        ("docker run \\\n  --rm \\\n  shop", 1),
        ("docker container create $TAG", 1),
    ],
)
def test_a_tag_is_found(text: str, count: int) -> None:
    assert len(by_tag(text)) == count


def test_the_stacks_parameter_takes_a_digest_only() -> None:
    """Read as text: the template is Jinja, its parameters are plain."""
    text = (ROOT / "templates" / "stack.yaml.j2").read_text()
    block = re.search(r"^  ContainerImage:\n((?:    .+\n)+)", text, re.MULTILINE)
    assert block is not None
    pattern = yaml.safe_load(block[1])["AllowedPattern"]
    assert re.fullmatch(pattern, "quay.io/shop@sha256:" + "0" * 64)
    for wrong in ("shop", "shop:latest", "shop@sha256:12", "shop:x@latest"):
        assert not re.fullmatch(pattern, wrong)
