"""One side of a data run as the AWS environment, a profile and an endpoint make it: `Side`."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoRegionError,
    ProfileNotFound,
)

from fearless.data.connections import near
from fearless.data.job import Endpoint
from fearless.data.tables import TableInfo
from fearless.data.wire import Wire
from fearless.errors import ConfigError, FearlessError, NotAuthorised

CONNECT = 2.0
READ = 10.0
LISTED = 500
"""Table names that are looked through for one like a name that does not exist."""


@dataclass(frozen=True)
class Access:
    """How a side is reached, as the command line says it; None is what the environment says."""

    url: str | None = None
    region: str | None = None
    profile: str | None = None


class Side:
    """The clients of one side. `name` is `source` or `target`; nothing is asked until it is."""

    def __init__(self, name: str, access: Access) -> None:
        from boto3 import Session

        self.name = name
        self._access = access
        region = access.region or os.environ.get("AWS_REGION") or None
        try:
            self._session: Any = Session(profile_name=access.profile, region_name=region)
        except ProfileNotFound as error:
            raise ConfigError(f"the {name}: {error}") from error

    @property
    def url(self) -> str:
        """The endpoint of DynamoDB."""
        return str(self.control.meta.endpoint_url)

    @property
    def region(self) -> str:
        """Of the tables."""
        return str(self.control.meta.region_name)

    @property
    def near(self) -> bool:
        """True when it is an emulator on this machine's loopback."""
        return near(urlsplit(self.url).hostname or "")

    @property
    def place(self) -> str:
        """Where it is, for people: `us-east-1`, `us-east-1 at http://127.0.0.1:4566`."""
        given = self._access.url or not self.url.endswith((".amazonaws.com", ".api.aws"))
        return f"{self.region} at {self.url}" if given else self.region

    @cached_property
    def credentials(self) -> Any:
        """botocore's. Raises NotAuthorised when the environment has none."""
        found = self._session.get_credentials()
        if found is None:
            raise NotAuthorised(
                f"the {self.name}: no AWS credentials found: set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give --profile"
            )
        return found

    @cached_property
    def control(self) -> Any:
        """A boto3 client for what is asked once: tables, their streams, their settings."""
        return self.client("dynamodb")

    def acting_as(self, credentials: Mapping[str, str]) -> Any:
        """A client of DynamoDB with what AssumeRole gave."""
        return self.client(
            "dynamodb",
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client that repeats little by itself."""
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT,
            read_timeout=READ,
            retries={"mode": "standard", "total_max_attempts": 3},
            account_id_endpoint_mode="disabled",
        )
        try:
            return self._session.client(
                service, endpoint_url=self._access.url, config=config, **credentials
            )
        except NoRegionError as error:
            raise ConfigError(
                f"the {self.name}: no AWS region: set AWS_REGION or give --region"
            ) from error
        except ValueError as error:
            raise ConfigError(f"the {self.name}: {error}") from error

    @cached_property
    def wire(self) -> Wire:
        """The data plane's own client of the tables."""
        return Wire("dynamodb", self.url, self.region, self.credentials)

    @cached_property
    def streams(self) -> Wire:
        """The data plane's own client of their streams."""
        return Wire("streams", self._streams_url, self.region, self.credentials)

    @property
    def endpoint(self) -> Endpoint:
        """For workers in other processes."""
        return Endpoint(self.url, self.region, self._streams_url, self._access.profile)

    def describe(self, table: str) -> TableInfo:
        """The table. Raises with one clear line when it cannot be asked or is not there."""
        return TableInfo.of(self.description(table))

    def description(self, table: str) -> Mapping[str, Any]:
        """DescribeTable's `Table`."""
        _ = self.credentials
        try:
            answer = self.control.describe_table(TableName=table)
        except (EndpointConnectionError, ConnectTimeoutError) as error:
            raise FearlessError(
                f"the {self.name}: nothing answers at {self.url}: is the endpoint right, and up?"
            ) from error
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            raise self._unknown(table) from error
        found: Mapping[str, Any] = answer["Table"]
        return found

    def command(self, words: str) -> str:
        """The `aws dynamodb` command that a person would type for this side."""
        line = f"aws dynamodb {words} --region {self.region}"
        if self._access.profile:
            line += f" --profile {shlex.quote(self._access.profile)}"
        if self._access.url or self.near:
            line += f" --endpoint-url {self.url}"
        return line

    @property
    def _streams_url(self) -> str:
        return str(self.client("dynamodbstreams").meta.endpoint_url)

    def _unknown(self, table: str) -> FearlessError:
        """What to say of a table that is not there: which ones are, most like it first."""
        names: list[str] = []
        try:
            for page in self.control.get_paginator("list_tables").paginate():
                names += page["TableNames"]
                if len(names) >= LISTED:
                    break
        except (ClientError, BotoCoreError):
            names = []
        like = difflib.get_close_matches(table, names, n=3, cutoff=0.5)
        part = [name for name in names if table in name or name in table]
        shown = list(dict.fromkeys([*like, *part]))[:5]
        hint = f": did you mean {' or '.join(map(repr, shown))}?" if shown else ""
        if not hint:
            some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            hint = f" (there are: {some})" if names else " (there is none at all, or none to see)"
        return ConfigError(f"the {self.name}: there is no table {table!r} in {self.place}{hint}")
