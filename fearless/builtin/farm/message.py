"""What a sender asks a worker to build: one JSON message, checked before anything is done with it.

Whoever may write to the queue can write anything. So a message names, and never says how: the
repository is one that the worker knows, the SHA is 40 hex digits, and paths are plain names below
the repository's root. What the commit's release.toml says otherwise wins.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fearless.errors import FearlessError

VERSION = 1
LIMIT = 16 * 1024
"""Bytes of the longest message; SQS takes more, a build never needs it."""


class InvalidMessage(FearlessError):
    """A message that no worker must act on; it says which part of it is wrong."""


def _plain(path: str) -> str:
    """A relative path of plain names, or `.`."""
    parts = path.split("/")
    if path != "." and any(
        not re.fullmatch(r"[A-Za-z0-9_.+@ -]+", part) or part in (".", "..") for part in parts
    ):
        raise ValueError("must be a relative path of plain names, without `..`")
    if path.startswith("-"):
        raise ValueError("must not begin with a `-`")
    return path


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable, on one line")
    return text


Path = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_plain)]
Text = Annotated[str, Field(max_length=255), AfterValidator(_printable)]
ArgName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
ArgValue = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]

ID = r"[0-9a-f]{10}-[0-9a-f]{8}\.[1-9][0-9]{0,3}"
"""Of a build: the SHA's first ten digits, a hash of what is built of it, and the how-manieth."""


class Options(BaseModel):
    """What is built of a commit, as `[app]` and `[container]` in its release.toml say.

    `folder` is where release.toml lies in the repository, `source` the container's folder below
    it; `dockerfile` is a file of the source.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    app: str = Field(pattern=r"^[a-z][a-z0-9-]{0,11}$")
    folder: Path = "."
    source: Path = "."
    dockerfile: Path = "Dockerfile"
    target: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] | None = None
    args: dict[ArgName, ArgValue] = Field(default_factory=dict, max_length=64)
    timeout: int = Field(1800, ge=1, le=39600)
    network: Literal["bridge", "default", "none"] | None = None
    buildkit: bool = False

    def digest(self) -> str:
        """Eight hex digits: equal options have equal ones."""
        return hashlib.sha256(_canonical(self.model_dump()).encode()).hexdigest()[:8]


class Order(BaseModel):
    """One build: which commit of which repository, for whom. `ref` is what the sender called it.

    `branch` is set for a dev stack's image.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    v: Literal[1] = 1
    id: str = Field(pattern=f"^{ID}$")
    repository: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")
    ref: Text
    sha: str = Field(pattern=r"^[0-9a-f]{40}$")
    branch: Text | None = None
    requested_by: Text = ""
    options: Options

    @pydantic.model_validator(mode="after")
    def _id_is_of_it(self) -> Self:
        if self.id.partition(".")[0] != self.key:
            raise ValueError(f"the id is not that of what is to be built ({self.key}.N)")
        return self

    @property
    def key(self) -> str:
        """The same for every build of the same: the id without its number."""
        return key(self.repository, self.sha, self.options)

    def body(self) -> str:
        """The message."""
        return _canonical(self.model_dump())


def key(repository: str, sha: str, options: Options) -> str:
    """What the ids of builds of that commit with those options begin with."""
    what = f"{repository}@{sha}+{options.digest()}".encode()
    return f"{sha[:10]}-{hashlib.sha256(what).hexdigest()[:8]}"


def parse(body: str) -> Order:
    """The order in a message. Raises InvalidMessage."""
    if len(body.encode(errors="surrogatepass")) > LIMIT:
        raise InvalidMessage(f"the message is larger than {LIMIT} bytes")
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidMessage("the message is not JSON") from None
    if not isinstance(data, dict):
        raise InvalidMessage("the message is not a JSON object")
    if data.get("v") != VERSION or isinstance(data.get("v"), bool):
        raise InvalidMessage(
            f"the message has version {_short(data.get('v'))}, and this worker knows {VERSION}"
        )
    try:
        return Order.model_validate(data)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise InvalidMessage(
            f"the message's {_short(where) or 'content'}: {first['msg']}"
        ) from None


def named(body: str) -> str | None:
    """The id in a message, be the rest of it valid or not."""
    try:
        data = json.loads(body[:LIMIT])
    except (ValueError, RecursionError):
        return None
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str) and re.fullmatch(ID, found) else None


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else value
    return text if len(text) <= 60 else f"{text[:57]}..."
