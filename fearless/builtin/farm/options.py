"""What a release.toml says is to be built: the same for who sends it and for who builds it."""

from __future__ import annotations

from typing import Any

import pydantic

from fearless.builtin.farm.message import Options
from fearless.config import ConfigFile
from fearless.errors import ConfigError

BUILT = ("dockerfile", "target", "args", "timeout", "network", "buildkit")
"""The settings of `[container]` that a build depends on."""


def options_of(file: ConfigFile, folder: str) -> Options:
    """The options in `[app]` and `[container]`; `folder` is where the file lies in its repository.

    Raises ConfigError naming the key that no worker would take.
    """
    settings = file.config.container.settings()
    given: dict[str, Any] = {
        name: settings[name] for name in BUILT if settings.get(name) is not None
    }
    given |= {"app": file.config.app.name, "source": file.config.app.source.strip("/") or "."}
    try:
        return Options(folder=folder.strip("/") or ".", **given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        slot = "app" if key in ("app", "source") else "container"
        raise ConfigError(
            f"{file.where(slot, key)}: `{key}` cannot be sent to a build worker: {first['msg']}"
        ) from None
