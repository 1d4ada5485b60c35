"""`[registry] use = "ecr"`: Amazon Elastic Container Registry, of the account and region in use.

Images travel by the distribution protocol, as with any registry. What ECR does in its own way
goes by its own API: repositories and their rules, passwords, the list of images, and deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fearless import oci_reference
from fearless.builtin.aws import explained
from fearless.builtin.registries import ecr_repository, manifests
from fearless.builtin.registries.ecr_login import Logins
from fearless.builtin.registries.manifests import INDEXES, MANIFESTS, Document, NoOneImage
from fearless.builtin.registries.remote import Remote
from fearless.builtin.registries.session import Address
from fearless.errors import ConfigError, FearlessError
from fearless.interfaces import Cloud, Image, Login, StoredImage
from fearless.oci import CorruptImage

if TYPE_CHECKING:
    from fearless.project import Project

BATCH = 100
"""Images that BatchGetImage takes at once."""

SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED")


class Ecr(Remote):
    """`prefix` goes before the name of every repository: with `team/`, `shop` is in `team/shop`.

    A repository that is missing is made at the first push. `untagged_days` after it was pushed an
    image without a tag is deleted there. `endpoint` is where images travel when that is not ECR's
    own host, as with an emulator. `platform` says which image of an index is deployed.
    """

    def __init__(
        self,
        project: Project,
        cloud: Cloud,
        prefix: str | None = None,
        untagged_days: int = 14,
        endpoint: str | None = None,
        platform: str | None = None,
    ) -> None:
        super().__init__(platform or "")
        self._project = project
        self._cloud = cloud
        self._prefix = prefix or ""
        self._days = untagged_days
        parts = urlsplit(endpoint or "")
        self._plain_http = parts.scheme == "http"
        self._logins = Logins(lambda: cloud.client("ecr"), parts.netloc)
        if endpoint and not (parts.scheme in ("http", "https") and parts.netloc):
            raise ConfigError(
                f"[registry] endpoint = {endpoint!r}: a URL, such as `http://127.0.0.1:4566`"
            )
        if not oci_reference.is_repository(f"{self._prefix}x"):
            raise ConfigError(
                f"[registry] prefix = {prefix!r}: lower-case letters, digits and single `-`, `_`, "
                "`.` or `/`, such as `team/`"
            )
        if untagged_days < 1:
            raise ConfigError(f"[registry] untagged_days = {untagged_days}: at least 1")

    def address(self) -> Address:
        """The registry of the account and region."""
        return Address(
            self.login().server, self._plain_http, "`[cloud]`, and the IAM rights for ECR"
        )

    def login(self) -> Login:
        """User AWS and a password that is good for an hour at least."""
        return self._logins.get()

    def repository(self, app: str) -> str:
        """`<prefix><app>`."""
        return f"{self._prefix}{app}"

    def prepare(self, app: str) -> None:
        """Make the app's repository if there is none."""
        name = self.repository(app)
        with explained(f"making the ECR repository {name}"):
            ecr_repository.ensure(self._ecr, name, app, self._days)

    def list(self) -> Sequence[Image]:
        """Every tagged image of this app, by tag."""
        return [stored.image for stored in self.stored()]

    def stored(self) -> Sequence[StoredImage]:
        """Every tagged image with its size, when it was pushed, and what ECR's scan found."""
        app = self._project.app.name
        name = self.repository(app)
        with explained(f"listing the images of the ECR repository {name}"):
            details = self._details(name)
            documents = self._documents(name, (str(detail["imageDigest"]) for detail in details))

        def fetch(digest: str) -> Document | None:
            if digest not in documents:  # in an index
                with explained(f"reading {digest} of the ECR repository {name}"):
                    documents.update(self._documents(name, [digest]))
            return documents.get(digest)

        found = []
        for detail in details:
            digest = str(detail["imageDigest"])
            try:
                image = manifests.resolve(fetch, digest, self.platform, f"{name}@{digest}")
            except (NoOneImage, CorruptImage):
                image = None
            found += [
                StoredImage(
                    self.image(app, tag, image) if image else self.no_image(app, tag, digest),
                    detail.get("imageSizeInBytes"),
                    detail.get("imagePushedAt"),
                    scan(detail),
                )
                for tag in detail["imageTags"]
            ]
        return sorted(found, key=lambda stored: stored.image.tag)

    def deviations(self) -> Sequence[str]:
        """What about the app's repository is not as Fearless would have made it."""
        name = self.repository(self._project.app.name)
        with explained(f"looking at the ECR repository {name}"):
            repository = ecr_repository.describe(self._ecr, name)
            if not repository:
                return ()
            return ecr_repository.deviations(repository, ecr_repository.lifecycle(self._ecr, name))

    def delete(self, image: Image) -> None:
        """Remove the tag if it still holds that digest; ECR deletes an image with its last tag."""
        name = self.repository(image.repository)
        if self.held(image) is None:
            return
        with explained(f"deleting {name}:{image.tag} from ECR"):
            answer = self._ecr.batch_delete_image(
                repositoryName=name, imageIds=[{"imageTag": image.tag}]
            )
        for failure in answer.get("failures", ()):
            if failure.get("failureCode") != "ImageNotFound":
                raise FearlessError(
                    f"ECR does not delete {name}:{image.tag}: {failure.get('failureReason')}"
                )

    @property
    def _ecr(self) -> Any:
        return self._cloud.client("ecr")

    def _details(self, name: str) -> Sequence[Mapping[str, Any]]:
        """What ECR says of every image of a repository that has a tag."""
        pages = self._ecr.get_paginator("describe_images").paginate(
            repositoryName=name, filter={"tagStatus": "TAGGED"}
        )
        try:
            found = [detail for page in pages for detail in page["imageDetails"]]
        except self._ecr.exceptions.RepositoryNotFoundException:
            return []
        return [detail for detail in found if detail.get("imageTags")]

    def _documents(self, name: str, digests: Iterable[str]) -> dict[str, Document]:
        """The manifests of those digests that are there."""
        wanted, found = list(digests), {}
        for start in range(0, len(wanted), BATCH):
            answer = self._ecr.batch_get_image(
                repositoryName=name,
                imageIds=[{"imageDigest": digest} for digest in wanted[start : start + BATCH]],
                acceptedMediaTypes=[*MANIFESTS, *INDEXES],
            )
            for image in answer["images"]:
                document = Document(
                    image["imageManifest"].encode(), image["imageManifestMediaType"]
                )
                found[str(image["imageId"]["imageDigest"])] = document
        return found


def scan(detail: Mapping[str, Any]) -> str:
    """What ECR's scan of an image came to, worst first; empty when there was none."""
    counts = (detail.get("imageScanFindingsSummary") or {}).get("findingSeverityCounts") or {}
    status = str((detail.get("imageScanStatus") or {}).get("status", ""))
    if counts:
        order = sorted(counts, key=lambda name: (*SEVERITIES, name).index(name))
        return "scan: " + ", ".join(f"{counts[name]} {name.lower()}" for name in order)
    if status in ("COMPLETE", "ACTIVE"):
        return "scan: nothing found"
    return f"scan: {status.lower().replace('_', ' ')}" if status else ""
