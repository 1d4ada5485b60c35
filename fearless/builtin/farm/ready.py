"""What a worker makes sure of before it takes anything: that it can build, push, and begin warm."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from fearless import names
from fearless.builtin.builds.earlier import Candidate, Finder
from fearless.errors import ConfigError
from fearless.interfaces import RemoteRegistry, Report
from fearless.local import engine

if TYPE_CHECKING:
    from fearless.project import Project


def make_ready(project: Project, report: Report) -> None:
    """Check engine and registry, and pull the newest image of the default branch.

    Raises FearlessError without an engine, and ConfigError for a registry that cannot work.
    """
    with closing(engine.require()) as client:
        registry = project.registry
        if not isinstance(registry, RemoteRegistry):
            return
        registry.login()
        if branch := _default_branch(project):
            newest = Candidate(names.branch_tag(branch), f"branch {branch}")
            Finder(client, registry, report).find(project.app.name, [newest])


def _default_branch(project: Project) -> str | None:
    """None also where release.toml lies in a folder of its own, which is all a worker needs."""
    try:
        return project.git.default_branch()
    except ConfigError:
        return None
