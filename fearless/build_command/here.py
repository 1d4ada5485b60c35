"""The farm of the project in the working directory, and what its commands have in common."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fearless.builtin.farm.builder import QueueBuilder


def json_option(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Let a command print JSON."""
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def builder_here() -> QueueBuilder:
    """That of the project here, or one with the defaults where release.toml uses another."""
    from fearless.builtin.farm.builder import QueueBuilder
    from fearless.project import Project

    project = Project(Path.cwd())
    if project.config.container.use == "queue":
        builder = project.builder
        if isinstance(builder, QueueBuilder):
            return builder
    return QueueBuilder(project, project.cloud)


def print_json(value: Any) -> None:
    """Print it for programs."""
    print(json.dumps(value, indent=2))
