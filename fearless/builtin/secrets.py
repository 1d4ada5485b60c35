"""Secrets from the environment, or from SSM Parameter Store."""

from __future__ import annotations

import os

from fearless.builtin.aws import code, explained
from fearless.errors import FearlessError
from fearless.interfaces import Cloud


class EnvSecrets:
    """Environment variables of the process that runs the release."""

    def get(self, name: str) -> str:
        """The variable `name`; raises FearlessError when it is not set or empty."""
        value = os.environ.get(name)
        if not value:
            raise FearlessError(f"secret {name!r}: the environment variable {name} is not set")
        return value


class SsmSecrets:
    """Parameters of SSM Parameter Store, SecureString ones decrypted.

    `prefix` goes before every name: with `/shop/` the secret `quay` is `/shop/quay`.
    """

    def __init__(self, cloud: Cloud, prefix: str = "") -> None:
        self._cloud = cloud
        self._prefix = prefix

    def get(self, name: str) -> str:
        """The parameter's value; raises FearlessError when there is none of that name."""
        from botocore.exceptions import ClientError

        parameter = self._prefix + name
        with explained(f"reading the secret {name!r}"):
            try:
                answer = self._cloud.client("ssm").get_parameter(
                    Name=parameter, WithDecryption=True
                )
            except ClientError as error:
                if code(error) not in ("ParameterNotFound", "ParameterVersionNotFound"):
                    raise
                raise FearlessError(
                    f"secret {name!r}: SSM has no parameter {parameter!r} in "
                    f"{self._cloud.region}: create it with `aws ssm put-parameter "
                    f"--type SecureString --name {parameter}`"
                ) from error
        return str(answer["Parameter"]["Value"])
