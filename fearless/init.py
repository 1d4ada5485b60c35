"""`fearless init`: give an app's repository its ops code. Never overwrites.

The scaffold is this project's own top level, shipped in the wheel: no second copy to rot.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from fearless.errors import ConfigError, Refused

PLUGINS = ("plugins/transforms.py", "plugins/smoke.py")
"""Of this project's own plugins, those that suit any app."""


@dataclass(frozen=True)
class AppFacts:
    """What release.toml says of the app: taken from the Dockerfile where not given."""

    name: str
    source: str
    port: int
    health: str
    release: str


def scaffold() -> Path:
    """The folder the scaffold lies in: inside the wheel, or the checkout Fearless runs from."""
    inside = Path(__file__).parent / "_scaffold"
    return inside if inside.is_dir() else Path(__file__).parent.parent


def facts(
    folder: Path,
    name: str | None = None,
    source: str | None = None,
    port: int | None = None,
    health: str | None = None,
    release: str | None = None,
) -> AppFacts:
    """Complete what was given by looking at the folder and its Dockerfile.

    Raises ConfigError when there is no Dockerfile, or no valid name can be made.
    """
    source = (source or ".").strip("/") or "."
    dockerfile = folder / source / "Dockerfile"
    if not dockerfile.is_file():
        raise ConfigError(
            f"there is no {dockerfile.relative_to(folder)}; Fearless releases containers: write "
            "one, or say where it is with --source FOLDER"
        )
    text = dockerfile.read_text()
    exposed = re.search(r"(?im)^\s*EXPOSE\s+(\d+)", text)
    checked = re.search(r"(?is)^\s*HEALTHCHECK\b.*?https?://[^/\s\"']+(/[^\s\"')]*)", text, re.M)
    slug = re.sub(r"[^a-z0-9]+", "-", (name or folder.resolve().name).lower()).strip("-")
    slug = re.sub(r"^[^a-z]+", "", slug)[:12].strip("-")
    if not slug or (name and slug != name):
        raise ConfigError(
            f"{name or folder.resolve().name!r} is not a name for an app: a letter, then letters, "
            "digits and -, 12 at most; give one with --name"
        )
    return AppFacts(
        name=slug,
        source=source,
        port=port or (int(exposed[1]) if exposed else 8080),
        health=health or (checked[1] if checked else "/"),
        release=release or "",
    )


def write(folder: Path, app: AppFacts) -> list[str]:
    """Copy the scaffold into `folder`, fitted to the app; the paths written, as they read there.

    Raises Refused, having written nothing, when one of the files is there already.
    """
    source = scaffold()
    wanted = ["dodo.py", "release.toml", *PLUGINS]
    for tree in ("templates", "packer"):
        wanted += sorted(
            path.relative_to(source).as_posix()
            for path in (source / tree).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
    there = [name for name in wanted if (folder / name).exists()]
    if there:
        raise Refused(
            f"{', '.join(there[:4])}{' ...' if len(there) > 4 else ''} already exist; "
            "init never overwrites: move them away, or run it in a repository without them"
        )
    for name in wanted:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name == "release.toml":
            target.write_text(fit((source / name).read_text(), app))
        else:
            shutil.copyfile(source / name, target)
    return wanted


def fit(text: str, app: AppFacts) -> str:
    """This project's release.toml, for another app; its comments stay. Pure."""
    import tomlkit

    document = tomlkit.parse(text)
    table = document["app"]
    assert isinstance(table, dict)
    for key, value in vars(app).items():
        if value == "" and key in table:
            del table[key]
        elif value != "":
            table[key] = value
    del document["cloud"]["seed"]
    document["dns"]["name"] = f"{app.name}.localhost"
    return tomlkit.dumps(document)
