"""dynamodump (PyPI): a backup into files, and a restore of it into the other table."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from dynamodump import dynamodump  # type: ignore[import-not-found]

from benchmarks.contenders.program import Order, Steps, run


def prepare(order: Order) -> Steps:
    """Nothing to prepare."""
    return {"copy": lambda: copy(order)}


def copy(order: Order) -> None:
    """Both halves by its own command line."""
    address = urlsplit(order.url)
    common = ["-r", "us-east-1", "--host", str(address.hostname), "--port", str(address.port)]
    common += ["--accessKey", "test", "--secretKey", "test", "--dumpPath", order.directory]
    common += ["-s", order.source, "--noConfirm", "--log", "ERROR"]
    for mode in (["-m", "backup"], ["-m", "restore", "-d", order.target, "--dataOnly"]):
        sys.argv = ["dynamodump", *mode, *common]
        dynamodump.main()


if __name__ == "__main__":
    run(prepare)
