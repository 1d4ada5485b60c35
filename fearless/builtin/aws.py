"""AWS itself, or whatever the standard AWS endpoint variables point at."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from fearless.errors import ConfigError, FearlessError, NotAuthorised
from fearless.interfaces import Report, Stack

DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "NotAuthorized",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
THROTTLED = frozenset(
    {
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


class Addressed(Protocol):
    """What is needed of a project here: `[app] url`, when release.toml gives one."""

    @property
    def app_url(self) -> str | None:
        """The base URL users reach the app by."""


class Aws:
    """The account the standard credential chain leads to.

    `region` and `profile` win over the environment. `allowed_accounts` lists the only account
    ids a release may touch; leave it out to allow whichever account the credentials are for.
    """

    def __init__(
        self,
        project: Addressed,
        region: str | None = None,
        profile: str | None = None,
        allowed_accounts: list[str] | None = None,
    ) -> None:
        self._project = project
        self._region = region
        self._profile = profile
        self._allowed = [str(account) for account in allowed_accounts or ()]
        self._clients: dict[str, Any] = {}
        self._session: Any = None
        self._lock = threading.RLock()

    @property
    def region(self) -> str:
        """The region in use; raises ConfigError when nothing names one.

        boto3 reads AWS_DEFAULT_REGION only; AWS_REGION is what every other AWS tool goes by.
        """
        region = self._region or os.environ.get("AWS_REGION") or self._sessions().region_name
        if not region:
            raise ConfigError(
                "no AWS region: set `region` under [cloud] in release.toml, or AWS_REGION"
            )
        return str(region)

    def ensure(self, report: Report) -> None:
        """Check who we are; raise NotAuthorised for no, wrong or expired credentials."""
        with explained("asking AWS who we are"):
            identity = self.client("sts").get_caller_identity()
        account, arn = str(identity["Account"]), str(identity["Arn"])
        if self._allowed and account not in self._allowed:
            raise NotAuthorised(
                f"the credentials are for account {account} ({arn}), but [cloud] "
                f"allowed_accounts in release.toml is {', '.join(self._allowed)}: "
                "use another profile, or add the account"
            )
        report.line(f"AWS account {account}, {self.region}, as {arn}")

    def running(self) -> bool:
        """True when AWS accepts the credentials."""
        try:
            with explained("asking AWS who we are"):
                self.client("sts").get_caller_identity()
        except FearlessError:
            return False
        return True

    def client(self, service: str) -> Any:
        """A boto3 client for `service`, made once; safe to call from any thread."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._sessions().client(
                    service, region_name=self.region, config=_config(os.environ)
                )
            return self._clients[service]

    def credentials(self) -> Any:
        """The session's, renewed for the clients and for whoever else uses them alike."""
        with explained("looking for AWS credentials"):
            found = self._sessions().get_credentials()
        if found is None:
            raise NotAuthorised(
                "no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or run `aws sso login`"
            )
        return found

    def requests(self, stack: Stack, seconds: float) -> int:
        """What CloudWatch counted at the stack's load balancer; its own health checks are not."""
        with explained(f"counting requests to {stack.name}"):
            found = self.client("elbv2").describe_load_balancers()["LoadBalancers"]
            host = stack.outputs["LoadBalancerDNS"].lower()
            arn = next((b["LoadBalancerArn"] for b in found if b["DNSName"].lower() == host), "")
            if not arn:
                return 0
            now = datetime.now(UTC)
            answer = self.client("cloudwatch").get_metric_statistics(
                Namespace="AWS/ApplicationELB",
                MetricName="RequestCount",
                Dimensions=[{"Name": "LoadBalancer", "Value": arn.partition("loadbalancer/")[2]}],
                StartTime=now - timedelta(seconds=seconds),
                EndTime=now,
                Period=period(seconds),
                Statistics=["Sum"],
            )
        return int(sum(point["Sum"] for point in answer["Datapoints"]))

    def parameters(self, stack_name: str) -> dict[str, str]:
        """Nothing: the template's defaults are meant for AWS."""
        return {}

    def url(self, host: str, port: int) -> str:
        """`http://host`, with the port unless it is 80."""
        return f"http://{host}" if port == 80 else f"http://{host}:{port}"

    def public_url(self, name: str) -> str:
        """`[app] url` in release.toml, or `http://name`."""
        return self._project.app_url or f"http://{name}"

    def _sessions(self) -> Any:
        import boto3
        from botocore.exceptions import BotoCoreError

        with self._lock:
            if self._session is None:
                try:
                    self._session = boto3.Session(profile_name=self._profile)
                except BotoCoreError as error:
                    raise ConfigError(f"[cloud] in release.toml: {error}") from error
            return self._session


def period(seconds: float) -> int:
    """Whole minutes, so that no more than 1,440 points are asked for: CloudWatch's limit."""
    return 60 * max(1, -(-int(seconds) // (60 * 1440)))


def _config(environment: Mapping[str, str]) -> Any:
    """Retries that back off when throttled. An endpoint of one's own has one host name only."""
    from botocore.config import Config

    options: dict[str, Any] = {
        "retries": {"mode": "standard", "max_attempts": 10},
        "connect_timeout": 10,
        "max_pool_connections": 32,
    }
    if any(name.startswith("AWS_ENDPOINT_URL") for name in environment):
        options["account_id_endpoint_mode"] = "disabled"
    return Config(**options)


def code(error: BaseException) -> str:
    """The error code AWS gave (`ValidationError`, `Throttling`), or an empty string."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def message(error: BaseException) -> str:
    """What AWS said, without botocore's preamble."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Message", "") or error)


def throttled(error: BaseException) -> bool:
    """Whether AWS asked to be called less often."""
    return code(error) in THROTTLED


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what boto3 raises into one line that says what was being done.

    Raises NotAuthorised when AWS does not accept who we are or what we may do, FearlessError
    for anything else AWS answers and when it cannot be reached.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
        SSOError,
        TokenRetrievalError,
    )

    try:
        yield
    except ClientError as error:
        if code(error) in DENIED:
            raise NotAuthorised(
                f"{doing}: {code(error)}: {message(error)} (check the credentials with "
                "`aws sts get-caller-identity`)"
            ) from error
        raise FearlessError(f"{doing}: {code(error)}: {message(error)}") from error
    except (
        NoCredentialsError,
        PartialCredentialsError,
        SSOError,
        TokenRetrievalError,
    ) as error:
        raise NotAuthorised(
            f"{doing}: {error}: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or run `aws sso login`"
        ) from error
    except BotoCoreError as error:
        raise FearlessError(f"{doing}: {error}") from error
