"""The shop's settings, all of them from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TABLES = ("stores", "products", "orders")


class ConfigError(Exception):
    """The environment lacks something, or holds something that makes no sense."""


@dataclass(frozen=True)
class Release:
    """Which release this process is; `local` where nothing tells."""

    app: str
    sha: str
    stack: str
    release: str
    kind: str


@dataclass(frozen=True)
class Settings:
    """Where to listen, which tables to use, who we are."""

    host: str
    port: int
    region: str
    tables: Mapping[str, str]
    release: Release

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read them; raises ConfigError naming every variable that is missing."""
        missing = [
            f"TABLE_{name.upper()}" for name in TABLES if not env.get(f"TABLE_{name.upper()}")
        ]
        if missing:
            raise ConfigError(f"not set: {', '.join(missing)} (the names of the DynamoDB tables)")
        port = env.get("PORT", "8080")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"PORT must be a number from 1 to 65535, is {port!r}")
        return cls(
            host=env.get("HOST", "0.0.0.0"),
            port=int(port),
            region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1",
            tables={name: env[f"TABLE_{name.upper()}"] for name in TABLES},
            release=Release(
                app=env.get("FEARLESS_APP", "shop"),
                sha=env.get("FEARLESS_SHA", "local"),
                stack=env.get("FEARLESS_STACK", "local"),
                release=env.get("FEARLESS_RELEASE", "local"),
                kind=env.get("FEARLESS_KIND", "local"),
            ),
        )
