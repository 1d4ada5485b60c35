"""release.toml: its schema, and where in the file a mistake is."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from fearless.dockerfile_lint import Rule
from fearless.errors import ConfigError, suggest

GIVEN = ("project", "cloud")
"""Constructor parameters of a provider that core gives; all the others are settings."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class App(_Table):
    """`[app]`: what is released."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,11}$")
    source: str = "."
    port: int = Field(8080, ge=1, le=65535)
    health: str = Field("/", pattern=r"^/\S*$")
    release: str = Field("", pattern=r"^(/\S*)?$")
    url: str = ""


class Tag(_Table):
    """`[tag]`: `remote` is where release tags are pushed; empty keeps them local."""

    remote: str = ""


class Key(_Table):
    """`[tables.<name>]`: the primary key of a DynamoDB table, and when its items expire."""

    hash: str = Field(min_length=1)
    range: str | None = Field(None, min_length=1)
    hash_type: Literal["S", "N", "B"] = "S"
    range_type: Literal["S", "N", "B"] = "S"
    ttl: str | None = Field(None, min_length=1)


class Cutover(_Table):
    """`[cutover]`: `budget` is the longest write pause in seconds before everything is undone.

    `replaces` is the DNS name the app's record may point at before the very first release.
    """

    auto: bool = True
    budget: float = Field(60, gt=5, le=3600)
    timeout: float = Field(300, gt=0)
    replaces: str = Field("", pattern=r"^\S*$")


class Gates(_Table):
    """`[gates]`: `max_lag` in seconds; `timeout` for targets to become healthy, in seconds."""

    max_lag: float = Field(5, gt=0)
    timeout: float = Field(300, gt=0)


class Retire(_Table):
    """`[retire]`: keep so many former live stacks; delete none sooner than `soak` seconds.

    `backup`: tables are backed up before they are deleted.
    """

    keep: int = Field(1, ge=0)
    soak: float = Field(86400, ge=0)
    backup: bool = True


class Devstack(_Table):
    """`[devstack]`: instances of a dev stack."""

    instances: int = Field(1, ge=1)


class Slot(BaseModel):
    """A slot's table: `use` names the provider, everything else is one of its settings."""

    model_config = ConfigDict(extra="allow", frozen=True)
    use: str | None = None

    def settings(self) -> dict[str, Any]:
        """The provider's settings, as written."""
        return dict(self.model_extra or {})


class StackSlot(Slot):
    """`[stack]`: the provisioner, and `[stack.parameters]` for the template."""

    parameters: dict[str, str | int] = {}


class ContainerSlot(Slot):
    """`[container]`: the builder, and what is done about the findings in the Dockerfile."""

    lint: Literal["warn", "error", "off"] = "warn"
    lint_ignore: list[Rule] = []


class Config(_Table):
    """The whole of release.toml."""

    app: App
    tag: Tag = Tag()
    cloud: Slot = Slot(use="local")
    container: ContainerSlot = ContainerSlot()
    registry: Slot = Slot()
    ami: Slot = Slot()
    stack: StackSlot = StackSlot()
    data: Slot = Slot()
    engine: Slot = Slot()
    dns: Slot = Slot()
    deploy: Slot = Slot()
    secrets: Slot = Slot()
    tables: dict[str, Key] = {}
    dropped: dict[str, str] = {}
    gates: Gates = Gates()
    cutover: Cutover = Cutover()
    retire: Retire = Retire()
    devstack: Devstack = Devstack()


@dataclass(frozen=True)
class ConfigFile:
    """release.toml as read: the validated config, and the text errors point into."""

    path: Path
    text: str
    config: Config

    def where(self, *keys: str) -> str:
        """`release.toml:12` for the line of a key, or of the closest table around it."""
        line = locate(self.text, keys)
        return f"{self.path.name}:{line}" if line else self.path.name


def locate(text: str, keys: Iterable[str]) -> int | None:
    """The 1-based line on which the dotted path `keys` is set, or of its innermost table.

    tomllib keeps no positions; this reads headers and `key =` lines, which is all that
    release.toml is made of.
    """
    wanted = [str(key) for key in keys]
    table: list[str] = []
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if header:
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            path = table
        else:
            setting = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
            if not setting:
                continue
            path = table + [part.strip("\"'") for part in setting[1].split(".")]
        if path == wanted[: len(path)] and (best is None or len(path) > best[0]):
            best = (len(path), number)
    return best[1] if best else None


def read(path: Path) -> ConfigFile:
    """Read and validate release.toml. Raises ConfigError naming file, line and key."""
    try:
        text = path.read_text()
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: not found; run `fearless init` in the app's repository"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        file = ConfigFile(path, text, Config.model_validate(data))
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(path, text, error)) from None
    _check(file)
    return file


def _check(file: ConfigFile) -> None:
    """What keys must be to each other."""
    tables = file.config.tables
    for name, key in tables.items():
        if key.hash == key.range:
            raise ConfigError(
                f"{file.where('tables', name, 'range')}: `tables.{name}.range` = {key.range!r} is "
                "the hash as well; leave it out, or name another attribute"
            )
    for name, reason in file.config.dropped.items():
        where = f"{file.where('dropped', name)}: `dropped.{name}`"
        if name in tables:
            raise ConfigError(
                f"{where}: the table {name!r} is also declared as [tables.{name}]; remove one"
            )
        if not reason.strip():
            raise ConfigError(f"{where} is empty; say why the table {name!r} is dropped")


def _explain(path: Path, text: str, error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    keys = [str(key) for key in first["loc"]]
    line = locate(text, keys)
    where = f"{path.name}:{line}" if line else path.name
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    dotted = ".".join(keys)
    if first["type"] == "extra_forbidden":
        known = _known(Config, keys[:-1])
        what = "table" if len(keys) == 1 and isinstance(first["input"], dict) else "key"
        return (
            f"{where}: unknown {what} `{dotted}`{suggest(keys[-1], known)}; "
            f"valid here: {', '.join(known)}{more}"
        )
    if first["type"] == "missing":
        return f"{where}: `{dotted}` is missing{more}"
    return f"{where}: `{dotted}` = {first['input']!r}: {first['msg'].lower()}{more}"


def _known(model: type[BaseModel], keys: Iterable[str]) -> list[str]:
    current: Any = model
    for key in keys:
        fields = getattr(current, "model_fields", {})
        if key in fields:
            current = fields[key].annotation
            if getattr(current, "__origin__", None) is dict:
                current = current.__args__[1]
    return sorted(getattr(current, "model_fields", {}))


def arguments(
    cls: type, settings: Mapping[str, Any], slot: str, file: ConfigFile
) -> dict[str, Any]:
    """Validate a provider's settings against its constructor; the keyword arguments to give it.

    Raises ConfigError naming file, line, provider, key and the valid choices.
    """
    fields = _fields(cls)
    label = f"[{slot}] provider {getattr(file.config, slot).use or cls.__name__!r}"
    for key in settings:
        if key not in fields:
            takes = ", ".join(fields) or "none"
            raise ConfigError(
                f"{file.where(slot, key)}: {label} has no setting "
                f"`{key}`{suggest(key, fields)}; its settings: {takes}"
            )
    model = pydantic.create_model(
        cls.__name__,
        __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True),
        **fields,
    )
    try:
        checked = model.model_validate(dict(settings))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "missing":
            raise ConfigError(f"{file.where(slot)}: {label} needs the setting `{key}`") from None
        raise ConfigError(
            f"{file.where(slot, key)}: {label}: `{key}` = {first['input']!r}: "
            f"{first['msg'].lower()}"
        ) from None
    return {key: getattr(checked, key) for key in settings}


def wants(cls: type) -> set[str]:
    """Which of the things core gives (`GIVEN`) the provider's constructor asks for."""
    return set(GIVEN) & set(inspect.signature(cls).parameters)


def _fields(cls: type) -> dict[str, Any]:
    constructor: Any = cls.__init__  # type: ignore[misc]
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if name in GIVEN or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (_hint(parameter.annotation, constructor), default)
    return fields


def _hint(annotation: Any, constructor: Any) -> Any:
    """One parameter's type; Any where there is none, or it names what only type checkers import."""
    if annotation is inspect.Parameter.empty:
        return Any
    holder = type("Holder", (), {"__annotations__": {"value": annotation}})
    try:
        names = getattr(constructor, "__globals__", {})
        return get_type_hints(holder, globalns=names, include_extras=True)["value"]
    except NameError:
        return Any
