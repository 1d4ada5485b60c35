"""Keeps container images in an S3 bucket: `[registry] use = "s3"`. No registry service to run."""

from __future__ import annotations

from fearless import hookimpl

__all__ = ["registries"]


@hookimpl
def registries() -> dict[str, type]:
    """Offers `s3`. It is imported here, so that a command that needs no registry stays quick."""
    from fearless_s3_registry.registry import S3Registry

    return {"s3": S3Registry}
