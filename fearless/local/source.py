"""What an instance is told to run: user data, machine image, and a dev stack's override."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fearless.errors import FearlessError

RELEASE_ENV = "/etc/fearless/release.env"


class NotRunnable(FearlessError):
    """An instance cannot start: what it should run is missing or not valid."""


@dataclass(frozen=True)
class Source:
    """A container image to run: its OCI layout and manifest digest; `env` overrides variables."""

    layout: Path
    digest: str
    reference: str
    env: Mapping[str, str] = field(default_factory=dict)


def user_data_files(user_data: str) -> dict[str, str]:
    """Path -> content of each `write_files` entry of a `#cloud-config`; {} for anything else."""
    if not user_data.lstrip().startswith("#cloud-config"):
        return {}
    import yaml

    try:
        config = yaml.safe_load(user_data) or {}
        return {entry["path"]: _content(entry) for entry in config.get("write_files") or ()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise NotRunnable(f"user data is not a cloud-config: {line}") from None


def _content(entry: Mapping[str, Any]) -> str:
    content = str(entry.get("content", ""))
    if entry.get("encoding") in ("b64", "base64"):
        return base64.b64decode(content).decode()
    return content


def variables(text: str) -> dict[str, str]:
    """The KEY=VALUE lines of an environment file, comments and blank lines aside."""
    pairs = (line.strip().partition("=") for line in text.splitlines())
    return {key.strip(): value for key, sep, value in pairs if sep and not key.startswith("#")}


def release_env(user_data: str) -> dict[str, str]:
    """The variables an instance with this user data starts with."""
    return variables(user_data_files(user_data).get(RELEASE_ENV, ""))


def write_files(files: Mapping[str, str], root: Path) -> None:
    """Write the files below `root`; one that would lie outside is refused."""
    for path, content in files.items():
        target = (root / path.lstrip("/")).resolve()
        if not target.is_relative_to(root.resolve()):
            raise NotRunnable(f"user data writes {path!r}, which is outside the instance")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


def machine_image(directory: Path, ami: str) -> Source:
    """The app's image as baked into a machine image of `.fearless/amis`."""
    folder = directory / "amis" / ami
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        image = manifest["images"][0]
        return Source(
            folder / "images", image["digest"], f"{image['repository']}@{image['digest']}"
        )
    except FileNotFoundError:
        raise NotRunnable(
            f"machine image {ami} is not in {directory.name}/amis: bake it with `doit ami`"
        ) from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise NotRunnable(f"{folder}/manifest.json is not a machine image: {error!r}") from None


def override_name(stack: str) -> str:
    """The SSM parameter that says which image a dev stack runs."""
    return f"/fearless/{stack}/image"


def deployed_layout(directory: Path, stack: str) -> Path:
    """Where the images that were deployed to a dev stack are; raises ValueError for no name."""
    layout = directory / "deployed" / stack
    if layout.resolve().parent != (directory / "deployed").resolve():
        raise ValueError(f"stack {stack!r}")
    return layout


def override(directory: Path, value: str) -> Source:
    """The image that a dev stack's parameter names."""
    try:
        image = json.loads(value)
        repository, digest = str(image["repository"]), str(image["digest"])
        layout = deployed_layout(directory, str(image["stack"]))
        env = {"FEARLESS_SHA": image.get("sha"), "FEARLESS_RELEASE": image.get("release")}
        set_env = {key: str(text) for key, text in env.items() if text}
        return Source(layout, digest, f"{repository}@{digest}", set_env)
    except (ValueError, KeyError, TypeError) as error:
        raise NotRunnable(f"the stack's image parameter is not valid: {error!r}") from None


def environment(
    image: Mapping[str, str],
    release: Mapping[str, str],
    source: Mapping[str, str],
    local: Mapping[str, str],
) -> dict[str, str]:
    """An instance's variables: the image's, the release's, the override's, this machine's."""
    return {**image, **release, **source, **local}
