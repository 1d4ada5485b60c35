"""The AWS emulator of the embedded cloud, as a process: `python -m fearless.local.emulator`.

MiniStack, configured by its own environment variables, plus what `fearless.local.emulation` adds.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from fearless.errors import ConfigError, FearlessError

MINISTACK = "1.5.33"


def check_version() -> None:
    """Raise ConfigError unless exactly the MiniStack this package extends is installed."""
    remedy = f'run `pip install "fearless[local]"`, which pins ministack=={MINISTACK}'
    try:
        installed = version("ministack")
    except PackageNotFoundError:
        raise ConfigError(f"the embedded cloud needs ministack: {remedy}") from None
    if installed != MINISTACK:
        raise ConfigError(
            f"the embedded cloud needs ministack {MINISTACK}, found {installed}: {remedy}"
        )


def main() -> None:
    """Run the emulator in the foreground until SIGTERM, which makes it save its state."""
    check_version()
    from fearless.local import emulation

    emulation.install()
    import ministack.app

    sys.argv = sys.argv[:1]
    ministack.app.main()


if __name__ == "__main__":
    try:
        main()
    except FearlessError as error:
        sys.exit(str(error))
