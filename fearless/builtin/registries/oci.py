"""`[registry] use = "oci"`: any registry that speaks the OCI distribution protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING

from fearless import oci_reference
from fearless.builtin.registries.manifests import Found, tombstone
from fearless.builtin.registries.remote import Remote
from fearless.builtin.registries.session import Address
from fearless.errors import ConfigError, FearlessError
from fearless.interfaces import Image, Login, StoredImage

if TYPE_CHECKING:
    from fearless.project import Project


class OciRegistry(Remote):
    """`registry` is a host, with a port and a path if need be; an app's repository is below it.

    `username` signs in with the password that the secret store has as `password_secret`.
    `plain_http` sends everything, the password included, unencrypted; on loopback that is so
    anyway. `platform` (`linux/amd64`) says which image of an index is deployed.
    """

    def __init__(
        self,
        project: Project,
        registry: str,
        username: str | None = None,
        password_secret: str | None = None,
        plain_http: bool = False,
        platform: str | None = None,
    ) -> None:
        super().__init__(platform or "")
        self._project = project
        self._host, _, self._path = registry.strip("/").partition("/")
        self._plain_http = plain_http
        self._username = username
        self._secret = password_secret
        self._password = ""
        valid = oci_reference.is_host(self._host) and (
            not self._path or oci_reference.is_repository(self._path)
        )
        if not valid:
            raise ConfigError(
                f"[registry] registry = {registry!r}: a host name, with a port and a path if need "
                "be, and without `https://`: `registry.example.com:5000/team`"
            )
        if bool(username) != bool(password_secret):
            given, lacks = ("username", "password_secret")[:: 1 if username else -1]
            raise ConfigError(
                f"[registry] {given} needs `{lacks}` beside it: the name of the password in the "
                "secret store ([secrets]), and whose it is"
            )

    def address(self) -> Address:
        """Where it is; what to look at when it does not let us in."""
        settings = "`[registry] registry`"
        if self._username:
            settings = f"`[registry] username` and `password_secret` ({self._secret!r})"
        return Address(self._host, self._plain_http, settings)

    def login(self) -> Login | None:
        """The user and password; None when the registry lets anybody in."""
        if not self._username or not self._secret:
            return None
        self._password = self._password or self._project.secrets.get(self._secret)
        return Login(self._host, self._username, self._password)

    def repository(self, app: str) -> str:
        """`<path>/<app>`."""
        return f"{self._path}/{app}" if self._path else app

    def list(self) -> Sequence[Image]:
        """Every tagged image of this app, by tag."""
        return [image for image, _ in self.tagged(self._project.app.name)]

    def stored(self) -> Sequence[StoredImage]:
        """Every tagged image with its size and when it was built; who pushed when, nobody knows."""
        app = self._project.app.name
        return [
            StoredImage(image, found.size, self._built(app, found)) if found else StoredImage(image)
            for image, found in self.tagged(app)
        ]

    def deviations(self) -> Sequence[str]:
        """None: the protocol does not tell how a registry is set up."""
        return ()

    def delete(self, image: Image) -> None:
        """Remove the tag if it still holds that digest, and the image if no other tag has it.

        Raises FearlessError when the registry does not delete at all. What the bytes take is
        given back by the registry's own garbage collection.
        """
        held = self.held(image)
        if held is None:
            return
        repository = self.repository(image.repository)
        others = [
            tag
            for tag in self.client.tags(repository)
            if tag != image.tag and self.client.digest(repository, tag) == held
        ]
        if others and not self.client.delete_manifest(repository, image.tag):
            self._bury(repository, image.tag)
        elif not others and not self.client.delete_manifest(repository, held):
            raise self._cannot_delete()

    def _built(self, app: str, found: Found) -> datetime | None:
        """When the image says it was built; builders that want equal bytes say 1970."""
        with self.client.blob(self.repository(app), found.manifest.config.digest) as stream:
            try:
                config = stream.read() if stream else b""
                created = datetime.fromisoformat(json.loads(config)["created"])
            except (KeyError, TypeError, ValueError):
                return None
        return created if created.year > 1980 and created.tzinfo else None

    def _bury(self, repository: str, tag: str) -> None:
        """Delete a tag whose image others need: it names a nothing for a moment, which goes."""
        config, blob, document = tombstone(tag)
        self.client.upload(repository, blob, lambda: BytesIO(config))
        self.client.put_manifest(repository, tag, document)
        if not self.client.delete_manifest(repository, document.digest):
            raise self._cannot_delete()

    def _cannot_delete(self) -> FearlessError:
        return FearlessError(
            f"registry {self._host} does not delete: switch it on there (docker-registry: "
            "`storage.delete.enabled: true`)"
        )
