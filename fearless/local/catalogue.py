"""The embedded cloud's providers: only the parts that would start machines differ from AWS's."""

from __future__ import annotations

from fearless.hookspecs import hookimpl


@hookimpl
def clouds() -> dict[str, type]:
    from fearless.local.cloud import LocalCloud

    return {"local": LocalCloud}


@hookimpl
def container_builders() -> dict[str, type]:
    from fearless.local.auto import AutoBuilder
    from fearless.local.builder import LocalBuilder

    return {"local": LocalBuilder, "auto": AutoBuilder}


@hookimpl
def registries() -> dict[str, type]:
    from fearless.local.registry import LocalRegistry

    return {"local": LocalRegistry}


@hookimpl
def ami_bakers() -> dict[str, type]:
    from fearless.local.baker import LocalBaker

    return {"local": LocalBaker}


@hookimpl
def deployers() -> dict[str, type]:
    from fearless.local.deployer import LocalDeployer

    return {"local": LocalDeployer}
