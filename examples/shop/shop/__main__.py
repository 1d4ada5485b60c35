"""Serve the shop: `python -m shop`, configured by the environment."""

from __future__ import annotations

import logging
import os
import sys

from shop.config import ConfigError, Settings
from shop.server import Server


def main() -> int:
    """Serve until SIGTERM; 2 when the environment is not right."""
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s")
    logging.getLogger("shop").setLevel(logging.INFO)
    try:
        settings = Settings.from_env(os.environ)
    except ConfigError as error:
        print(f"shop: {error}", file=sys.stderr)
        return 2
    release = settings.release
    logging.getLogger("shop").info(
        "shop %s (%s) on %s:%d", release.release, release.sha[:7], settings.host, settings.port
    )
    Server(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
