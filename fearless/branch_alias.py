"""Lets a branch's tag name the image that was pushed last, for the next build's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fearless import names
from fearless.errors import explain
from fearless.interfaces import Image, Release, RemoteRegistry, Report

if TYPE_CHECKING:
    from fearless.project import Project


def alias_branch(project: Project, release: Release, image: Image, report: Report) -> None:
    """Move the tag of the release's branch, if it is the tip of one. Nothing depends on that."""
    registry = project.registry
    if not isinstance(registry, RemoteRegistry):
        return
    branch = release.branch or project.git.branch(release.sha)
    if branch is None:
        return
    try:
        registry.alias(image, names.branch_tag(branch))
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        report.line(
            f"warning: the registry did not take the tag {names.branch_tag(branch)}, so the "
            f"next build may find less in the cache: {explained}"
        )
