"""What the embedded cloud adds to MiniStack, one module per subject, through its own tables."""

from __future__ import annotations


def install() -> None:
    """Extend the MiniStack of this process; call once, before it serves."""
    from fearless.local.emulation import (
        admin,
        balancing,
        documents,
        expressions,
        network,
        permissions,
        repositories,
        saving,
        scaling,
        signatures,
        tables,
    )

    health, failures = balancing.MeasuredHealth(), scaling.Failures()
    parts = (documents, network, tables, expressions, permissions, repositories, signatures, saving)
    for module in parts:
        module.install()
    scaling.install(failures)
    balancing.install(health)
    admin.install(health, failures)
