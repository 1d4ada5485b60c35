"""`fearless lint`: what is wrong with the app's Dockerfile, without building anything."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fearless import config, dockerfile
from fearless.dockerfile_lint import lint
from fearless.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    """Add `lint`; it sets `run(args) -> exit code`."""
    parser = subparsers.add_parser(
        "lint", help="show what makes the Dockerfile slow to rebuild, or a risk"
    )
    parser.add_argument(
        "file", nargs="?", type=Path, help="a Dockerfile (default: the one release.toml leads to)"
    )
    parser.add_argument("--json", action="store_true", help="a JSON document instead of lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show every finding; 1 if one is a warning, else 0."""
    path, container = args.file, config.ContainerSlot()
    if path is None:
        file = _release_toml()
        container = file.config.container
        path = Path(file.config.app.source) / container.settings().get("dockerfile", "Dockerfile")
    instructions = dockerfile.parse(_read(path), str(path))
    findings = lint(instructions, container.settings().get("args"), container.lint_ignore)
    if args.json:
        document = {"file": str(path), "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        lines = [finding.at(str(path)) for finding in findings] or [f"{path}: nothing found"]
        sys.stdout.write("\n".join(lines) + "\n")
    return int(any(finding.level == "warning" for finding in findings))


def _release_toml() -> config.ConfigFile:
    if not Path("release.toml").exists():
        raise ConfigError("there is no release.toml here: name a Dockerfile, `fearless lint FILE`")
    return config.read(Path("release.toml"))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}; set `[app] source` to the folder with it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
