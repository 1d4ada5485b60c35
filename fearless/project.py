"""A project: release.toml, its plugins, and the provider that fills each slot."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from fearless import config, interfaces
from fearless.config import App, Config, ConfigFile, Slot
from fearless.errors import ConfigError
from fearless.git import Git
from fearless.ledger import Ledger
from fearless.names import STACK_LIMIT
from fearless.plugins import SLOTS, Plugins

DEFAULTS = {
    "local": {
        "container": "auto",
        "registry": "local",
        "ami": "local",
        "stack": "cloudformation",
        "data": "dynamodb",
        "engine": "processes",
        "dns": "route53",
        "deploy": "local",
        "secrets": "env",
    },
    "aws": {
        "container": "docker",
        "registry": "ecr",
        "ami": "packer",
        "stack": "cloudformation",
        "data": "dynamodb",
        "engine": "processes",
        "dns": "route53",
        "deploy": "ssm",
        "secrets": "ssm",
    },
}
"""Who fills a slot that release.toml does not mention, by `[cloud] use`."""


class Project:
    """A folder with a release.toml. Providers are made when first asked for.

    `root` is where the operator works and `.fearless/` lies; `ops` is where templates, plugins
    and the machine image's files are read from: the same folder, or an export of another SHA.
    """

    def __init__(
        self, root: Path, *, ops: Path | None = None, plugins: Iterable[object] = ()
    ) -> None:
        self.root = root.resolve()
        self.ops = (ops or root).resolve()
        self.file: ConfigFile = config.read(self.ops / "release.toml")
        self.plugins = Plugins(self.ops, plugins)
        self.git = Git(self.root)
        self._providers: dict[str, Any] = {}
        self._extra = tuple(plugins)
        self._check_names()

    @property
    def config(self) -> Config:
        """release.toml, validated."""
        return self.file.config

    @property
    def app(self) -> App:
        """`[app]`."""
        return self.file.config.app

    @property
    def directory(self) -> Path:
        """Fearless's own files: logs, exports, doit's cache, and the embedded cloud's state."""
        return self.root / ".fearless"

    @property
    def domain(self) -> str:
        """The DNS name users reach the app by."""
        return str(self.config.dns.settings().get("name", ""))

    @property
    def dockerfile(self) -> str:
        """The Dockerfile's name in the folder of the app, which any builder takes as a setting."""
        return str(self.config.container.settings().get("dockerfile") or "Dockerfile")

    @property
    def app_url(self) -> str | None:
        """`[app] url`, where users reach the app, when it is not the cloud's to say."""
        return self.app.url or None

    @cached_property
    def tables(self) -> tuple[interfaces.TableSpec, ...]:
        """The declared tables, in the file's order."""
        specs = []
        for name, key in self.config.tables.items():
            specs.append(
                interfaces.TableSpec(
                    name, key.hash, key.range, key.hash_type, key.range_type, key.ttl
                )
            )
            if not specs[-1].logical_id.isalnum():
                raise ConfigError(
                    f"{self.file.where('tables', name)}: {name!r} is not a table name; "
                    "use letters, digits, - and _"
                )
        return tuple(specs)

    def export(self, sha: str) -> Project:
        """The same project with ops code and config as they were at `sha`."""
        folder = self.directory / "exports" / sha
        if not (folder / "release.toml").is_file():
            self.git.export(sha, folder)
        other = Project(self.root, ops=folder, plugins=self._extra)
        if other.config.cloud != self.config.cloud or other.app.name != self.app.name:
            raise ConfigError(
                f"release.toml at {sha[:7]} is for another app or cloud than the one here; "
                "check out that commit and run there"
            )
        other._providers["cloud"] = self.cloud
        return other

    # ------------------------------------------------------------------ providers

    @property
    def cloud(self) -> interfaces.Cloud:
        """The AWS endpoint."""
        return cast(interfaces.Cloud, self._provider("cloud"))

    @property
    def builder(self) -> interfaces.ContainerBuilder:
        """Builds containers."""
        return cast(interfaces.ContainerBuilder, self._provider("container"))

    @property
    def registry(self) -> interfaces.Registry:
        """Keeps images."""
        return cast(interfaces.Registry, self._provider("registry"))

    @property
    def baker(self) -> interfaces.AmiBaker:
        """Bakes machine images."""
        return cast(interfaces.AmiBaker, self._provider("ami"))

    @property
    def provisioner(self) -> interfaces.Provisioner:
        """Creates stacks."""
        return cast(interfaces.Provisioner, self._provider("stack"))

    @property
    def store(self) -> interfaces.DataStore:
        """Moves data."""
        return cast(interfaces.DataStore, self._provider("data"))

    @property
    def engine(self) -> interfaces.CopyEngine:
        """Performs the units of work of data runs."""
        return cast(interfaces.CopyEngine, self._provider("engine"))

    @property
    def dns(self) -> interfaces.DnsProvider:
        """Points the app's name."""
        return cast(interfaces.DnsProvider, self._provider("dns"))

    @property
    def deployer(self) -> interfaces.Deployer:
        """Swaps containers of dev stacks."""
        return cast(interfaces.Deployer, self._provider("deploy"))

    @property
    def secrets(self) -> interfaces.SecretStore:
        """Looks up secrets."""
        return cast(interfaces.SecretStore, self._provider("secrets"))

    @cached_property
    def ledger(self) -> Ledger:
        """The release ledger."""
        return Ledger(self.cloud.client("dynamodb"), self.app.name)

    def named(self, release: interfaces.Release) -> interfaces.Release:
        """The release, with the stack name a plugin wants for it, if one does."""
        answers = self.plugins.ask("stack_name", release=release)
        if not answers:
            return release
        name, origin = answers[0]
        if not re.fullmatch(rf"[a-z][a-z0-9-]{{0,{STACK_LIMIT - 1}}}", str(name)):
            raise ConfigError(
                f"{origin}: {name!r} is not a stack name: a letter, then letters, digits and -, "
                f"{STACK_LIMIT} at most"
            )
        return replace(release, stack_name=str(name))

    def check(self) -> None:
        """Validate every slot's provider and settings, without making any of them.

        A slot that release.toml leaves out, and whose default nobody offers, is an error only
        when something needs it.
        """
        for slot in SLOTS:
            if self._slot(slot).use is None and self._named(slot) not in self.plugins.offers(slot):
                continue
            cls = self._chosen(slot)
            config.arguments(cls, self._slot(slot).settings(), slot, self.file)

    def uses(self) -> dict[str, str]:
        """The provider that each slot has, by name: release.toml's, or else the default."""
        return {slot: self._named(slot) for slot in SLOTS}

    def using(self, **providers: Any) -> Project:
        """For tests: put providers into slots by the slot's table name."""
        self._providers.update(providers)
        return self

    def _provider(self, slot: str) -> Any:
        if slot not in self._providers:
            cls = self._chosen(slot)
            arguments = config.arguments(cls, self._slot(slot).settings(), slot, self.file)
            wanted = config.wants(cls)
            if "project" in wanted:
                arguments["project"] = self
            if "cloud" in wanted:
                arguments["cloud"] = self.cloud
            self._providers[slot] = cls(**arguments)
        return self._providers[slot]

    def _slot(self, slot: str) -> Slot:
        return cast(Slot, getattr(self.config, slot))

    def _chosen(self, slot: str) -> type:
        return self.plugins.choose(slot, self._named(slot), self.file.where(slot, "use"))

    def _named(self, slot: str) -> str:
        defaults = DEFAULTS.get(str(self.config.cloud.use), DEFAULTS["aws"])
        return self._slot(slot).use or defaults[slot]

    def _check_names(self) -> None:
        seen: dict[str, str] = {}
        for spec in self.tables:
            if spec.logical_id in seen:
                raise ConfigError(
                    f"{self.file.where('tables', spec.name)}: tables {seen[spec.logical_id]!r} and "
                    f"{spec.name!r} are both `{spec.logical_id}` in the template; rename one"
                )
            seen[spec.logical_id] = spec.name


def transforms(project: Project, release: interfaces.Release) -> tuple[interfaces.Transform, ...]:
    """Every plugin's transforms, in order. Names must be unique and tables declared."""
    declared = {spec.name for spec in project.tables}
    found: dict[str, str] = {}
    result = []
    for answer, origin in project.plugins.ask("transforms", release=release):
        for transform in answer:
            if transform.name in found:
                raise ConfigError(
                    f"transform {transform.name!r} is given by {found[transform.name]} and by "
                    f"{origin}; rename one"
                )
            unknown = [table for table in transform.tables if table not in declared]
            if unknown:
                raise ConfigError(
                    f"{origin}: transform {transform.name!r} is for table {unknown[0]!r}, which "
                    f"release.toml does not declare (tables: {', '.join(sorted(declared))})"
                )
            found[transform.name] = origin
            result.append(transform)
    return tuple(result)
