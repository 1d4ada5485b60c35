"""A small app's release, tables and template, for the tests that need a stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fearless.interfaces import Kind, Release, TableSpec
from fearless.template import Rendered, render

TEMPLATES = Path(__file__).parent.parent / "templates"
SHA = "4f2a9c1d5e6b7a8f9c0d1e2f3a4b5c6d7e8f9a0b"
PARAMETERS = {
    "ImageId": "ami-0123456789abcdef0",
    "ContainerImage": "shop@sha256:" + "ab" * 32,
    "ListenerPort": "18080",
}
TABLES = [
    TableSpec("products", "store_id", "object_id"),
    TableSpec("order_lines", "id", hash_type="N"),
]


@dataclass(frozen=True)
class App:
    """What `[app]` gives the template."""

    name: str = "shop"
    port: int = 8080
    health: str = "/healthz"


def release(kind: Kind = "release", app: str = "shop", sha: str = SHA) -> Release:
    """A release (or dev stack) of `app` at `sha`, with the names core would give it."""
    branch = "feature/x" if kind == "dev" else None
    letter = "r" if kind == "release" else "d"
    name = f"20261123-{sha[:7]}"
    return Release(app, sha, name, f"{app}-{name}", f"{app}-{letter}-{sha[:7]}", kind, branch)


def template(of: Release, tables: list[TableSpec] | None = None) -> Rendered:
    """The project's own stack.yaml.j2 rendered for that release."""
    variables = {
        "app": App(of.app),
        "release": of,
        "tables": TABLES if tables is None else tables,
        "kind": of.kind,
    }
    return render(TEMPLATES, "stack.yaml.j2", variables)
