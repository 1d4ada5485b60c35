"""Lets a Docker engine push an image: it sends the layers, and the SDK tells what went wrong.

`docker push` of the SDK never raises for what the registry or the engine says: failures are events
like any other. The password travels in the request's header, never on a command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fearless.errors import FearlessError, NotAuthorised, Refused
from fearless.interfaces import Login
from fearless.oci_reference import Reference

if TYPE_CHECKING:
    from docker import DockerClient

_WHO = ("unauthorized", "authentication required", "no basic auth", "denied", "forbidden")


def push(
    client: DockerClient, image_id: str, name: Reference, login: Login | None, settings: str
) -> str:
    """Push the engine's image under that name; the digest the engine says it has now.

    Without a login the engine's own configuration (`docker login`) counts. `settings` says what
    in release.toml may be wrong. Raises NotAuthorised, Refused or FearlessError, in one line.
    """
    from docker.errors import APIError, DockerException, ImageNotFound
    from urllib3.exceptions import HTTPError

    options: dict[str, Any] = {}
    if login is not None:
        options["auth_config"] = {"username": login.username, "password": login.password}
    try:
        client.images.get(image_id).tag(name.name, name.tag)
        events = client.api.push(name.name, name.tag, stream=True, decode=True, **options)
        return digest(events, name, settings)
    except ImageNotFound:
        raise FearlessError(
            f"the Docker engine has no image {image_id}: build it again with `doit image`"
        ) from None
    except APIError as error:
        raise failure(str(error.explanation or error), name, settings) from error
    except (DockerException, HTTPError, OSError) as error:
        raise FearlessError(f"the Docker engine broke off while pushing {name}: {error}") from error


def digest(events: Iterable[Mapping[str, Any]], name: Reference, settings: str) -> str:
    """What a push's events come to: the manifest's digest, or the failure among them, raised."""
    found = ""
    for event in events:
        if "error" in event:
            raise failure(str(event["error"]), name, settings)
        found = (event.get("aux") or {}).get("Digest", found)
    if not found:
        raise FearlessError(f"the Docker engine pushed {name} and did not say what it is")
    return found


def failure(said: str, name: Reference, settings: str) -> FearlessError:
    """The error for what an engine said about a push."""
    text = " ".join(said.split())
    if any(word in text.lower() for word in _WHO):
        return NotAuthorised(
            f"registry {name.registry} does not let the Docker engine push {name} ({text}): check "
            f"{settings} in release.toml"
        )
    if "immutable" in text.lower():
        return Refused(f"registry {name.registry}: {name}: {text}")
    hint = ""
    if "HTTP response to HTTPS client" in text:
        hint = f"; add {name.registry!r} to the engine's `insecure-registries`"
    return FearlessError(f"the Docker engine cannot push {name}: {text}{hint}")
