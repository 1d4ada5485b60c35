"""Every name of a release or dev stack, as a function of its SHA or branch. Pure."""

from __future__ import annotations

import hashlib
import re

from fearless.interfaces import Release

STACK_LIMIT = 26
"""Longest stack name: load balancers and target groups derive theirs from it, within 32."""

TAG_LIMIT = 128
"""Longest tag of a container image, by the OCI distribution specification."""


def release(app: str, sha: str, date: str, tag: str = "") -> Release:
    """The release a SHA is. `date` is the commit's, as YYYYMMDD; `tag` overrides the git tag."""
    name = f"{date}-{sha[:7]}"
    return Release(app, sha, name, tag or f"release/{name}", f"{app}-r-{sha[:10]}")


def devstack(app: str, branch: str, sha: str, date: str) -> Release:
    """The dev stack of a branch at a SHA. The stack's name depends on the branch only."""
    return Release(
        app,
        sha,
        f"{date}-{sha[:7]}",
        "",
        branch_stack(app, branch),
        kind="dev",
        branch=branch,
    )


def branch_stack(app: str, branch: str) -> str:
    """`<app>-d-<slug>-<hash6>`: the hash keeps feature/x, feature-x and feature_x apart."""
    digest = hashlib.sha256(branch.encode()).hexdigest()[:6]
    room = STACK_LIMIT - len(app) - len("-d--") - len(digest)
    slug = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")[:room].strip("-")
    return f"{app}-d-{slug}-{digest}" if slug else f"{app}-d-{digest}"


def branch_tag(branch: str) -> str:
    """`branch-<slug>`: the tag of a branch's newest image, in an engine and in a registry.

    What a tag may not have becomes `-`, so that two branches may share one: it moves, and what
    it names is a cache, never what is deployed. A hash stands in for what is cut off.
    """
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", branch).strip("-")
    room = TAG_LIMIT - len("branch-")
    if slug and len(slug) <= room:
        return f"branch-{slug}"
    digest = hashlib.sha256(branch.encode()).hexdigest()[:6]
    return "-".join(filter(None, ("branch", slug[: room - 7].rstrip("-"), digest)))


def run_id(stack_name: str, stack_id: str) -> str:
    """The data run into a stack: one per stack id, so that a stack made anew starts anew."""
    return f"{stack_name}-{hashlib.sha256(stack_id.encode()).hexdigest()[:8]}"
