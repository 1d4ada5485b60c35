"""Everything that a worker in another process must know to take part in a run."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from fearless.data.settings import Settings
from fearless.data.unit import Crew
from fearless.errors import FearlessError
from fearless.interfaces import Report, Transform


@dataclass(frozen=True)
class Pair:
    """A table as the run calls it, and its physical names on both sides."""

    name: str
    source: str
    target: str


@dataclass(frozen=True)
class Endpoint:
    """Where a side's DynamoDB answers. `profile` is one of the AWS configuration, if any."""

    url: str
    region: str
    streams_url: str = ""
    profile: str | None = None


@dataclass(frozen=True)
class Clients:
    """Low-level clients, made without retries of their own.

    `streams` are those of the source; `target_streams`, where the way back begins, are the same
    when both sides are one account and region.
    """

    source: Any
    streams: Any
    target: Any
    state: Any
    target_streams: Any = None


@dataclass(frozen=True)
class Job:
    """A run as workers see it. Goes through pipes and rows; `credentials` never do so by JSON.

    `transforms` is `package.module:function`, called with `arguments` in each worker for the
    transforms of the run, whose digests must be those the run was begun with. `credentials` are
    botocore's, by side (`source`, `target`, `state`).
    """

    run: str
    state_table: str
    pairs: tuple[Pair, ...]
    settings: Settings
    source: Endpoint
    target: Endpoint
    state: Endpoint
    transforms: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    back: bool = False
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def to_json(self) -> str:
        """Without the credentials."""
        values = {name: getattr(self, name) for name in ("run", "state_table", "transforms")}
        values["arguments"] = dict(self.arguments)
        values["back"] = self.back
        values["pairs"] = [asdict(pair) for pair in self.pairs]
        for name in ("settings", "source", "target", "state"):
            values[name] = asdict(getattr(self, name))
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def of_json(cls, text: str, credentials: Mapping[str, Any] | None = None) -> Job:
        """What `to_json` made; the credentials come by a way of their own."""
        values = json.loads(text)
        return cls(
            run=values["run"],
            state_table=values["state_table"],
            pairs=tuple(Pair(**pair) for pair in values["pairs"]),
            settings=Settings(**values["settings"]),
            source=Endpoint(**values["source"]),
            target=Endpoint(**values["target"]),
            state=Endpoint(**values["state"]),
            transforms=values["transforms"],
            arguments=values["arguments"],
            back=values["back"],
            credentials=credentials or {},
        )

    def load(self) -> Sequence[Transform]:
        """The transforms, by calling `transforms` with `arguments`."""
        module, _, name = self.transforms.partition(":")
        try:
            function: Callable[..., Sequence[Transform]] = getattr(
                importlib.import_module(module), name
            )
        except (ImportError, AttributeError) as error:
            raise FearlessError(
                f"a worker cannot load the transforms by {self.transforms}: {error}; it must run "
                "the same code as the release"
            ) from error
        return tuple(function(**self.arguments))


class Engine(Protocol):
    """Where units are performed: the slot `copy_engines`."""

    def crew(self, job: Job, report: Report) -> Crew:
        """Workers for the job; they work while in a `with` block."""
