"""The built-in providers for AWS, registered through the same hooks as everybody's."""

from __future__ import annotations

from fearless.hookspecs import hookimpl


@hookimpl
def clouds() -> dict[str, type]:
    from fearless.builtin.aws import Aws

    return {"aws": Aws}


@hookimpl
def container_builders() -> dict[str, type]:
    from fearless.builtin.docker import DockerBuilder
    from fearless.builtin.farm.builder import QueueBuilder

    return {"docker": DockerBuilder, "queue": QueueBuilder}


@hookimpl
def registries() -> dict[str, type]:
    from fearless.builtin.registries.ecr import Ecr
    from fearless.builtin.registries.oci import OciRegistry

    return {"ecr": Ecr, "oci": OciRegistry}


@hookimpl
def ami_bakers() -> dict[str, type]:
    from fearless.builtin.packer.baker import PackerBaker

    return {"packer": PackerBaker}


@hookimpl
def provisioners() -> dict[str, type]:
    from fearless.builtin.cloudformation import CloudFormation

    return {"cloudformation": CloudFormation}


@hookimpl
def data_stores() -> dict[str, type]:
    from fearless.builtin.dynamodb import DynamoDB

    return {"dynamodb": DynamoDB}


@hookimpl
def copy_engines() -> dict[str, type]:
    from fearless.builtin.engines.celery import Celery
    from fearless.builtin.engines.processes import Processes

    return {"celery": Celery, "processes": Processes}


@hookimpl
def dns_providers() -> dict[str, type]:
    from fearless.builtin.route53 import Route53

    return {"route53": Route53}


@hookimpl
def secret_stores() -> dict[str, type]:
    from fearless.builtin.secrets import EnvSecrets, SsmSecrets

    return {"env": EnvSecrets, "ssm": SsmSecrets}
