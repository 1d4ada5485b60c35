"""A client of the distribution protocol: manifests, blobs and tags of any registry.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md. On urllib3, which boto3
brings anyway: docs/dependencies.md says why neither `oras` nor `python-dxf`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO
from urllib.parse import quote, urlencode

from fearless.builtin.registries.manifests import INDEXES, MANIFESTS, Document
from fearless.builtin.registries.session import Session, Unreachable
from fearless.errors import FearlessError
from fearless.oci import CorruptImage, Descriptor

ATTEMPTS = 3
"""How often a blob is sent at most."""

Source = Callable[[], AbstractContextManager[IO[bytes] | None]]
"""Opens a blob's bytes from their beginning; None when they are not there."""

_PAGE = 1000


class Client:
    """What can be asked of a registry. Safe to use from several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def host(self) -> str:
        """Which registry it is."""
        return self._session.address.host

    # -------------------------------------------------------------------- manifests

    def manifest(self, repository: str, reference: str) -> Document | None:
        """A manifest or index by tag or (checked) digest; None when it is not there."""
        accept = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}
        path = f"{repository}/manifests/{quote(reference, safe=':')}"
        answer = self._session.request(
            "GET", path, _pull(repository), headers=accept, fine=(200, 404)
        )
        if answer.status == 404:
            return None
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        found = Document(answer.data, media_type)
        if reference.startswith("sha256:") and found.digest != reference:
            raise FearlessError(
                f"registry {self.host} answers {found.digest} for {repository}@{reference}"
            )
        return found

    def digest(self, repository: str, tag: str) -> str | None:
        """The digest a tag names; None when there is no such tag."""
        found = self.manifest(repository, tag)
        return found.digest if found else None

    def put_manifest(self, repository: str, reference: str, document: Document) -> None:
        """Store a manifest under a tag or its digest. A tag appears, or moves, at once."""
        path = f"{repository}/manifests/{quote(reference, safe=':')}"
        headers = {"Content-Type": document.media_type}
        self._session.request(
            "PUT", path, _push(repository), body=document.data, headers=headers, fine=(201, 202)
        )

    def delete_manifest(self, repository: str, reference: str) -> bool:
        """Delete by digest, or a tag alone; False when this registry does not do that."""
        path = f"{repository}/manifests/{quote(reference, safe=':')}"
        fine = (200, 202, 204, 404, 400, 405, 501)
        scope = (f"repository:{repository}:delete", *_push(repository))
        return bool(
            self._session.request("DELETE", path, scope, fine=fine).status in (200, 202, 204, 404)
        )

    def tags(self, repository: str) -> list[str]:
        """Every tag, page by page; none when there is no such repository."""
        found: list[str] = []
        path: str | None = f"{repository}/tags/list?n={_PAGE}"
        while path is not None:
            answer = self._session.request("GET", path, _pull(repository), fine=(200, 404))
            if answer.status == 404:
                break
            found += self._session.json(answer).get("tags") or []
            link = answer.headers.get("Link", "")
            path = link.partition(">")[0].lstrip("<") if 'rel="next"' in link else None
        return found

    # ------------------------------------------------------------------------ blobs

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the repository has it."""
        path = f"{repository}/blobs/{digest}"
        return bool(
            self._session.request("HEAD", path, _pull(repository), fine=(200, 404)).status == 200
        )

    @contextmanager
    def blob(self, repository: str, digest: str) -> Iterator[IO[bytes] | None]:
        """A blob's bytes as a stream, which nobody has checked; None when it is not there."""
        path = f"{repository}/blobs/{digest}"
        answer = self._session.request(
            "GET", path, _pull(repository), fine=(200, 404), preload=False
        )
        try:
            with self._session.broken():
                yield None if answer.status == 404 else answer
        finally:
            answer.close()

    def upload(self, repository: str, blob: Descriptor, source: Source) -> None:
        """Send a blob; from the beginning again when the connection breaks, a few times."""
        for left in reversed(range(ATTEMPTS)):
            try:
                with source() as stream:
                    if stream is None:
                        raise CorruptImage(f"{blob.digest} is lost: it cannot be copied")
                    self._upload(repository, blob, stream)
                return
            except Unreachable:
                if not left:
                    raise

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Give a repository a blob of another one here without sending it; False if it cannot."""
        query = urlencode({"mount": digest, "from": source})
        path, scope = f"{repository}/blobs/uploads/?{query}", (*_push(repository), *_pull(source))
        answer = self._session.request("POST", path, scope, fine=(201, 202))
        if answer.status == 202:  # it began an upload instead
            self._session.request(
                "DELETE", self._session.location(answer), scope, fine=(204, 404, 405)
            )
        return bool(answer.status == 201)

    def _upload(self, repository: str, blob: Descriptor, stream: IO[bytes]) -> None:
        scope = _push(repository)
        begun = self._session.request("POST", f"{repository}/blobs/uploads/", scope, fine=(202,))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        sent = self._session.request(
            "PATCH", self._session.location(begun), scope, body=stream, headers=headers, fine=(202,)
        )
        location = self._session.location(sent)
        end = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': blob.digest})}"
        self._session.request("PUT", end, scope, fine=(201,))


def _pull(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull",)


def _push(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull,push",)
