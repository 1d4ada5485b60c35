"""What the embedded cloud adds to MiniStack, one module per subject, through its own tables."""

from __future__ import annotations


def install() -> None:
    """Extend the MiniStack of this process; call once, before it serves."""
    from fearless.local.emulation import (
        admin,
        balancing,
        documents,
        network,
        permissions,
        scaling,
        tables,
    )

    health = balancing.MeasuredHealth()
    for module in (documents, network, tables, scaling, permissions):
        module.install()
    balancing.install(health)
    admin.install(health)
