"""What packer is told, as pure functions: its arguments, environment and variables."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fearless.errors import ConfigError, FearlessError

Version = tuple[int, int, int]

MINIMUM: Version = (1, 6, 6)
"""The oldest packer that is known to work: Debian 12's."""

PLUGINS: Version = (1, 7, 0)
"""From here on packer must be told its plugins, which before it does not understand."""

PLUGINS_FILE = "plugins.pkr.hcl"

INSTALL = (
    "install packer 1.6.6 or newer (Debian and Ubuntu: `apt-get install packer`, others: "
    "https://developer.hashicorp.com/packer/install)"
)

_KEPT = frozenset(("AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS", "AWS_POLL_DELAY_SECONDS"))
_OURS = ("amazonaws.com", "amazonaws.com.cn", "api.aws")


def version(said: str) -> Version:
    """The version in what `packer version` says; raises FearlessError when it is too old."""
    match = re.search(r"Packer v(\d+)\.(\d+)\.(\d+)", said)
    if not match:
        raise FearlessError(f"`packer version` says {said[:60]!r}, not HashiCorp's: {INSTALL}")
    found = (int(match[1]), int(match[2]), int(match[3]))
    if found < MINIMUM:
        raise FearlessError(f"packer {'.'.join(match.groups())} is too old: {INSTALL}")
    return found


def init(packer: str, folder: str) -> list[str]:
    """Fetch the plugins that the folder's files ask for; nothing when they are there."""
    return [packer, "init", folder]


def build(packer: str, folder: str, variables: str) -> list[str]:
    """Bake what the folder's files say. No secret is among the arguments."""
    return [packer, "build", "-color=false", f"-var-file={variables}", folder]


def environment(environ: Mapping[str, str], credentials: Any, region: str) -> dict[str, str]:
    """The environment to run packer in: ours, but the credentials are exactly those given.

    `credentials` is what botocore's `get_frozen_credentials()` returns.
    """
    kept = {k: v for k, v in environ.items() if not k.startswith(("AWS_", "PKR_VAR_"))}
    kept |= {k: environ[k] for k in _KEPT if k in environ}
    kept |= {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_REGION": region,
        "CHECKPOINT_DISABLE": "1",
    }
    return kept | ({"AWS_SESSION_TOKEN": credentials.token} if credentials.token else {})


def reach(endpoint: str, ssh_host: str | None) -> dict[str, Any]:
    """The variables that say where EC2 is, and what packer may dial.

    AWS is asked by its own names, and packer dials the address that EC2 gives an instance. Any
    other endpoint may invent addresses that belong to somebody: then `ssh_host` must be an
    address of this machine or of a private network. Raises ConfigError otherwise.
    """
    host = urlsplit(endpoint).hostname or ""
    reached = {"ssh_host": ssh_host} if ssh_host else {}
    if any(host == ours or host.endswith(f".{ours}") for ours in _OURS):
        return reached
    if not ssh_host:
        raise ConfigError(
            f"EC2 is {endpoint}, which may invent the addresses of its instances: set `ssh_host` "
            "under [ami] in release.toml to the one address that packer may dial"
        )
    if not _private(ssh_host):
        raise ConfigError(
            f"[ami] ssh_host = {ssh_host!r}: EC2 is {endpoint}, which is not AWS: packer may dial "
            "an address of this machine (127.0.0.1) or of a private network only"
        )
    return {**reached, "endpoint": endpoint}


def _private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_private and not address.is_unspecified


def variables(given: Mapping[str, Any]) -> str:
    """The file of variables, as JSON; what is None keeps the default of `ami.pkr.hcl`."""
    return json.dumps({k: v for k, v in given.items() if v is not None}, indent=2, sort_keys=True)


def failure(log: str) -> str:
    """Why packer failed, in one line, from all it said.

    A provisioner's own words come before packer's complaint about its exit status.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        match = re.match(r"Build '[^']*' errored(?: after .*?)?: (.*)", line)
        if match:
            said = [_bare(before) for before in lines[:number] if _script(before)]
            return f"{match[1]} ({said[-1]})" if said and "exit status" in match[1] else match[1]
    errors = [i for i, line in enumerate(lines) if line.startswith("Error")]
    if errors:
        told = " ".join(lines[errors[0] : errors[0] + 3])
        return told.removeprefix("Error: ")
    return lines[-1] if lines else "it said nothing"


def _script(line: str) -> bool:
    """Whether a provisioner wrote this to its standard error, as far as one can tell."""
    own = ("Provisioning step had errors", "Terminating", "Cleaning up", "No volumes", "Deleting")
    return bool(re.match(r"==> \S+: \S", line)) and not _bare(line).startswith(
        (*own, "Provisioning with", "Uploading")
    )


def _bare(line: str) -> str:
    return re.sub(r"^(==> )?\S+: ", "", line)
