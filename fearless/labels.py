"""What every container image of a release says about itself, in the terms of OCI."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from fearless.interfaces import Release

NAMESPACE = "org.opencontainers.image"
"""https://github.com/opencontainers/image-spec/blob/main/annotations.md"""


def labels(release: Release, source: str = "") -> dict[str, str]:
    """A function of the release and of where its code is: nothing varies from build to build.

    `created` is the day of the commit, which is in the release's name, and not of the build.
    """
    found = {
        "fearless:app": release.app,
        "fearless:release": release.name,
        "fearless:sha": release.sha,
        f"{NAMESPACE}.revision": release.sha,
        f"{NAMESPACE}.title": release.app,
        f"{NAMESPACE}.version": release.name,
    }
    if source:
        found[f"{NAMESPACE}.source"] = source
    if day := re.match(r"(\d{4})(\d\d)(\d\d)-", release.name):
        found[f"{NAMESPACE}.created"] = f"{day[1]}-{day[2]}-{day[3]}T00:00:00Z"
    return found


def source_url(remote: str) -> str:
    """A git remote as the URL people open, the same for every way to clone it.

    Without user, password and `.git`; empty for what is not on another machine.
    """
    if "://" not in remote:  # git@host:path, or a path of this machine
        match = re.fullmatch(r"(?:[^/:@]+@)?([^/:]+\.[^/:]+):(?!/)(.+)", remote)
        host, path = match.groups() if match else ("", "")
    else:
        try:
            url = urlsplit(remote)
            web = url.scheme in ("http", "https")
            host = (url.hostname or "") + (f":{url.port}" if url.port and web else "")
            path = "" if url.scheme == "file" else url.path.lstrip("/")
        except ValueError:
            return ""
    path = path.rstrip("/").removesuffix(".git")
    return f"https://{host}/{path}" if host and path else ""
