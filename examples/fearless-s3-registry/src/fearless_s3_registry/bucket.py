"""One S3 bucket: the few calls the registry makes, and what went wrong in one line."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from fearless import Cloud, ConfigError, FearlessError, NotAuthorised
from fearless.oci import Descriptor, hex_of

MULTIPART = 64 << 20
"""Blobs of at least so many bytes are sent in parts, several at once. S3 takes 5 GiB in one."""

PART = 16 << 20
"""Bytes of a part, 5 MiB at least. S3 takes 10,000 parts: 160 GiB."""

BATCH = 1000
"""Keys that S3 deletes in one request."""

ABSENT = frozenset({"404", "NoSuchKey"})
TAKEN = frozenset({"PreconditionFailed"})
CHANGED = ABSENT | TAKEN
BUSY = "ConditionalRequestConflict"
ATTEMPTS = 5
DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)

NEEDS = (
    "the registry needs s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and "
    "s3:DeleteObject on what is in it"
)


@dataclass(frozen=True)
class Found:
    """A small object. `modified`, and `now` when it was read, are by S3's own clock."""

    data: bytes
    etag: str
    modified: datetime
    now: datetime

    @property
    def age(self) -> float:
        """Seconds since it was written."""
        return (self.now - self.modified).total_seconds()


class Bucket:
    """Raises NotAuthorised, ConfigError or FearlessError in one line, never what boto3 raises.

    `create` makes a missing bucket when it is first used. A bucket in another region than the
    cloud's is refused: every layer would cross regions, at each push and each pull.
    """

    def __init__(
        self, cloud: Cloud, name: str, create: bool = False, multipart: int = MULTIPART
    ) -> None:
        self.name = name
        self._cloud, self._create = cloud, create
        self._transfer = TransferConfig(
            multipart_threshold=multipart, multipart_chunksize=min(PART, multipart)
        )
        self._checked = False

    # ----------------------------------------------------------------------- reading

    def get(self, key: str) -> Found | None:
        """A small object, or None."""
        with self._explained(key):
            answer = self._ask("get_object", ABSENT, Key=key)
            if answer is None:
                return None
            data = answer["Body"].read()
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return Found(data, answer["ETag"], answer["LastModified"], now)

    @contextmanager
    def open(self, key: str) -> Iterator[IO[bytes] | None]:
        """The bytes of a large object as a stream, or None."""
        with self._explained(key):
            answer = self._ask("get_object", ABSENT, Key=key)
            yield answer["Body"] if answer else None

    def holds(self, key: str, blob: Descriptor) -> bool:
        """Whether the object is there as it was sent: its size, and its SHA-256.

        Of what was sent in parts, S3 knows only a checksum of the parts' checksums: then the
        size must do. Without any, somebody else wrote the object.
        """
        found = self._ask("head_object", ABSENT, Key=key, ChecksumMode="ENABLED")
        if found is None or found["ContentLength"] != blob.size or "ChecksumSHA256" not in found:
            return False
        if found.get("ChecksumType") == "COMPOSITE":
            return True
        return bool(found["ChecksumSHA256"] == _checksum(blob.digest))

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin so, in their order; not those the S3 console makes for folders."""
        pages = self._pages(prefix)
        found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return [key for key in found if not key.endswith("/")]

    def folders(self, prefix: str) -> list[str]:
        """What follows the prefix up to the next slash, each once."""
        pages = self._pages(prefix, Delimiter="/")
        found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        return [name.removeprefix(prefix).rstrip("/") for name in found]

    # ----------------------------------------------------------------------- writing

    def put_new(self, key: str, data: bytes) -> str | None:
        """Write a small object unless there is one with other bytes: its ETag, or None."""
        return self._put(key, data, TAKEN, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        """Write over the object of that ETag: the new ETag, or None when there is another."""
        return self._put(key, data, CHANGED, IfMatch=etag)

    def send(self, path: Path, key: str, digest: str) -> None:
        """Store a file, in parts when it is large; S3 refuses what was damaged on the way."""
        with path.open("rb") as file, self._explained(key):
            if path.stat().st_size < self._transfer.multipart_threshold:
                self._ask("put_object", Key=key, Body=file, ChecksumSHA256=_checksum(digest))
            else:
                self._s3.upload_fileobj(
                    file,
                    self.name,
                    key,
                    ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                    Config=self._transfer,
                )

    def delete(self, key: str, etag: str) -> None:
        """Delete the object if it still has that ETag."""
        self._ask("delete_object", CHANGED, Key=key, IfMatch=etag)

    def delete_all(self, keys: Sequence[str]) -> None:
        """Delete 1 to `BATCH` objects; those that are gone already are fine."""
        objects = [{"Key": key} for key in keys]
        answer = self._ask("delete_objects", Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", ()):
            raise self._error("DeleteObjects", error["Key"], error["Code"], error["Message"])

    # --------------------------------------------------------------------- internals

    @property
    def _s3(self) -> Any:
        s3 = self._cloud.client("s3")
        if not self._checked:
            self._check(s3)
            self._checked = True
        return s3

    def _check(self, s3: Any) -> None:
        with self._explained():
            try:
                region = s3.head_bucket(Bucket=self.name).get("BucketRegion")
            except ClientError as error:
                if _code(error) not in ABSENT:
                    raise
                if not self._create:
                    raise ConfigError(
                        f"[registry] bucket {self.name!r} does not exist: make it in "
                        f"{self._cloud.region}, or set `create = true` in release.toml"
                    ) from None
                region = self._make(s3)
        if region and region != self._cloud.region:
            raise ConfigError(
                f"[registry] bucket {self.name!r} is in {region}, and the cloud is "
                f"{self._cloud.region}: every layer would cross regions at each push and pull; "
                f"name one in {self._cloud.region}"
            )

    def _make(self, s3: Any) -> str:
        """Make the bucket; private, as every new bucket is."""
        region = self._cloud.region
        place = {"LocationConstraint": region}
        options = {} if region == "us-east-1" else {"CreateBucketConfiguration": place}
        try:
            s3.create_bucket(Bucket=self.name, **options)
        except ClientError as error:
            if _code(error) != "BucketAlreadyOwnedByYou":
                raise
        return region

    def _put(self, key: str, data: bytes, none: frozenset[str], **condition: str) -> str | None:
        """The answer to a first try may have been lost, and the second one refused for it."""
        answer = self._ask("put_object", none, Key=key, Body=data, **condition)
        if answer:
            return str(answer["ETag"])
        found = self.get(key)
        return found.etag if found and found.data == data else None

    def _pages(self, prefix: str, **options: str) -> Iterator[dict[str, Any]]:
        with self._explained(prefix):
            pages = self._s3.get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self.name, Prefix=prefix, **options)

    def _ask(self, operation: str, none: frozenset[str] = frozenset(), **arguments: Any) -> Any:
        """S3's answer; None when it is one of the codes `none`.

        While another request changes an object, a conditional one is answered BUSY: ask again.
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        with self._explained(arguments.get("Key", "")):
            for left in reversed(range(ATTEMPTS)):
                try:
                    return getattr(self._s3, operation)(Bucket=self.name, **arguments)
                except ClientError as error:
                    if _code(error) in none:
                        return None
                    if _code(error) != BUSY or not left:
                        raise
        return None

    @contextmanager
    def _explained(self, key: str = "") -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            message = error.response.get("Error", {}).get("Message", "")
            raise self._error(error.operation_name, key, _code(error), message) from error
        except BotoCoreError as error:
            raise FearlessError(f"s3://{self.name}/{key}: {_line(error)}") from error

    def _error(self, operation: str, key: str, code: str, message: str) -> FearlessError:
        text = f"s3://{self.name}/{key}: {operation}: {code}: {_line(message)}"
        return NotAuthorised(f"{text} ({NEEDS})") if code in DENIED else FearlessError(text)


def _checksum(digest: str) -> str:
    """A digest as S3 writes a SHA-256."""
    return base64.b64encode(bytes.fromhex(hex_of(digest))).decode()


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _line(text: object) -> str:
    return " ".join(str(text).split())
