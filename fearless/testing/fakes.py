"""In-memory providers that keep the rules of their slots, for tests of cores and plugins alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fearless.data.job import Job
from fearless.data.unit import Unit
from fearless.errors import BootFailed, FearlessError, Refused
from fearless.interfaces import (
    BuildContext,
    DataRun,
    DataState,
    Image,
    Late,
    MachineImage,
    Release,
    Report,
    Sample,
    Stack,
    Verdict,
)


class SilentReport:
    """A Report that remembers its lines, and the notes of its progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []

    def line(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Remember the note."""
        self.notes.append(note)


class FakeCloud:
    """A cloud whose clients are given; every load balancer is at 127.0.0.1."""

    region = "us-east-1"

    def __init__(self, clients: Mapping[str, Any] | None = None) -> None:
        self.clients = dict(clients or {})
        self.up = True

    def ensure(self, report: Report) -> None:
        """It is there."""
        self.up = True

    def running(self) -> bool:
        """Whether `ensure` was called, or nobody stopped it."""
        return self.up

    def client(self, service: str) -> Any:
        """The client given for that service."""
        return self.clients[service]

    def credentials(self) -> Any:
        """Of nobody."""
        from botocore.credentials import Credentials

        return Credentials("fake", "fake")

    def parameters(self, stack_name: str) -> dict[str, str]:
        """None."""
        return {}

    def url(self, host: str, port: int) -> str:
        """As on AWS."""
        return f"http://{host}:{port}"

    def public_url(self, name: str) -> str:
        """As on AWS."""
        return f"http://{name}"


class FakeBuilder:
    """Builds an image that is only a name."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def build(self, release: Release, context: BuildContext, report: Report) -> Image:
        """An image named by the SHA."""
        self.built.append(release.sha)
        digest = f"sha256:{release.sha:0<64}"
        return Image(release.app, release.sha, digest, digest, "fake:")


class FakeRegistry:
    """Images in a dict."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}

    def find(self, release: Release) -> Image | None:
        """By app and SHA."""
        image = self.images.get(release.sha)
        return image if image and image.repository == release.app else None

    def push(self, image: Image) -> Image:
        """Refuses another digest under the same tag."""
        there = self.images.get(image.tag)
        if there is not None and there.digest != image.digest:
            raise Refused(f"tag {image.tag} holds {there.digest}, not {image.digest}")
        return self.images.setdefault(image.tag, image)

    def pull(self, image: Image, into: Path) -> Path:
        """Nothing to write."""
        return into

    def list(self) -> Sequence[Image]:
        """All."""
        return list(self.images.values())

    def delete(self, image: Image) -> None:
        """By tag."""
        self.images.pop(image.tag, None)


class FakeBaker:
    """Machine images in a dict."""

    def __init__(self) -> None:
        self.baked: dict[tuple[str, str, str], MachineImage] = {}

    def find(self, release: Release) -> MachineImage | None:
        """By app and SHA; the last one baked."""
        ours = (release.app, release.sha)
        return next((m for key, m in reversed(self.baked.items()) if key[:2] == ours), None)

    def list(self, app: str) -> Sequence[MachineImage]:
        """By app, oldest first."""
        return [made for (of, _, _), made in self.baked.items() if of == app]

    def bake(self, release: Release, images: Sequence[Image], report: Report) -> MachineImage:
        """Named by its inputs."""
        references = sorted(image.reference for image in images)
        inputs = hashlib.sha256(repr((release.app, release.sha, references)).encode()).hexdigest()
        made = MachineImage(f"ami-{inputs[:17]}", release.sha, tuple(images), inputs)
        return self.baked.setdefault((release.app, release.sha, inputs), made)

    def discard(self, image: MachineImage) -> None:
        """By what it was made of."""
        self.baked = {key: m for key, m in self.baked.items() if m.inputs != image.inputs}


class FakeBootBaker(FakeBaker):
    """A baker that tests what it baked; `broken` are the ids of images that never answer."""

    def __init__(self, broken: Sequence[str] = ()) -> None:
        super().__init__()
        self.broken = tuple(broken)
        self.proven: set[str] = set()

    def find(self, release: Release) -> MachineImage | None:
        """Once it was proven to boot."""
        found = super().find(release)
        return found if found and found.id in self.proven else None

    def boot_test(self, release: Release, image: MachineImage, report: Report) -> str:
        """Without any machine."""
        ill = [one.image_id for one in image.images if one.image_id in self.broken]
        if ill:
            raise BootFailed(f"{image.id} without any network: {ill[0]} does not answer")
        self.proven.add(image.id)
        return "200 after 0 s"


class FakeProvisioner:
    """Stacks in a dict, each with `tables` (logical ids); `deleted` remembers the ids deleted."""

    def __init__(self, tables: Sequence[str] = ()) -> None:
        self.tables = tuple(tables)
        self.stacks: dict[str, Stack] = {}
        self.deleted: list[str] = []
        self.made = 0

    def find(self, name: str) -> Stack | None:
        """By name."""
        return self.stacks.get(name)

    def create(
        self, release: Release, template: str, parameters: Mapping[str, str], report: Report
    ) -> Stack:
        """A complete stack with the outputs every template gives."""
        there = self.stacks.get(release.stack_name)
        if there is not None:
            if release.kind == "release" and there.sha != release.sha:
                raise Refused(f"there is a stack {there.name} already, of {there.sha}")
            return there
        self.made += 1
        outputs = {
            "LoadBalancerDNS": f"{release.stack_name}.elb.localhost",
            "LoadBalancerZone": "Z1",
            "ListenerPort": "80",
            "AppRole": f"{release.stack_name}-role",
            "StateTable": f"{release.stack_name}-state",
            **{f"Table{table}": f"{release.stack_name}-{table}" for table in self.tables},
        }
        stack = Stack(
            release.stack_name,
            f"arn:stack/{release.stack_name}/{self.made}",
            "CREATE_COMPLETE",
            release.kind,
            release.name,
            release.sha,
            datetime.fromtimestamp(self.made, UTC),
            outputs,
            release.tags(),
        )
        self.stacks[release.stack_name] = stack
        return stack

    def delete(self, stack: Stack, report: Report) -> None:
        """By id."""
        there = self.stacks.get(stack.name)
        if there is not None and there.id == stack.id:
            del self.stacks[stack.name]
            self.deleted.append(stack.id)

    def list(self, app: str) -> Sequence[Stack]:
        """By tag."""
        return [s for s in self.stacks.values() if s.tags.get("fearless:app") == app]


@dataclass
class FakeStore:
    """Remembers who may write, and every call; `fail` names a method that is to raise.

    `held` is what is in quarantine, `written` what was written since the turn, `later` what
    reached the old stack after its fence.
    """

    log: list[str] = field(default_factory=list)
    writers: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    states: dict[str, DataState] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=lambda: Verdict(10))
    fail: str = ""
    held: list[Mapping[str, Any]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    written: list[Mapping[str, Any]] = field(default_factory=list)
    later: Late = field(default_factory=Late)

    def _call(self, name: str, stack: Stack | None = None) -> None:
        self.log.append(f"{name} {stack.name}" if stack else name)
        if self.fail == name:
            raise FearlessError(f"{name} failed")

    def state(self, run: DataRun) -> DataState:
        """What copy left, or the turn."""
        held = len(self.held)
        return replace(self.states.get(_side(run), DataState()), quarantined=held)

    def copy(self, run: DataRun, report: Report) -> DataState:
        """Everything at once."""
        self._call("copy")
        done = DataState("replay", read=10, written=12, dropped=1, changed=5)
        return self.states.setdefault(_side(run), done)

    def follow(self, run: DataRun, report: Report) -> DataState:
        """No lag."""
        self._call("follow back" if run.back else "follow")
        self.states[_side(run)] = replace(self.state(run), applied=3, lag=0.1, suspects=0)
        return self.state(run)

    def verified(self, run: DataRun) -> bool:
        """Whether it was compared before."""
        return "verify" in self.log

    def verify(self, run: DataRun, report: Report, still: bool = False) -> Verdict:
        """What the test says."""
        self._call("verify still" if still else "verify")
        return self.verdict

    def repair(self, run: DataRun, report: Report) -> Verdict:
        """What the test says."""
        self._call("repair")
        self.held.clear()
        return self.verdict

    def quarantine(self, run: DataRun) -> Sequence[Mapping[str, Any]]:
        """What the test put there."""
        return list(self.held)

    def retry(self, run: DataRun, report: Report) -> DataState:
        """It works now."""
        self._call("retry")
        self.held.clear()
        return self.state(run)

    def waive(self, run: DataRun, table: str, key: Mapping[str, Any], reason: str) -> None:
        """Not held any more."""
        self._call("waive")
        found = [row for row in self.held if (row["table"], row["key"]) == (table, key)]
        if not found:
            raise Refused(f"{table} {dict(key)} is not in quarantine")
        self.held.remove(found[0])

    def late(self, run: DataRun, report: Report) -> Late:
        """What the test says."""
        self._call(f"late {run.source.name} {run.target.name}")
        return self.later

    def backup(self, stack: Stack, report: Report) -> Sequence[str]:
        """One, of everything."""
        self._call("backup", stack)
        return [f"backup:{stack.id}"]

    def sample(self, run: DataRun, count: int, report: Report) -> Sequence[Sample]:
        """What the test says."""
        self._call("sample")
        return self.samples

    def turn(self, run: DataRun, report: Report) -> None:
        """From now on there is a way back."""
        self._call("turn")
        for stack in (run.source, run.target):
            if self.writable(stack):
                raise Refused(f"{stack.name} may be written")
        self.states[_side(replace(run, back=True))] = DataState("replay", lag=0.0)

    def writes(self, run: DataRun, report: Report) -> Iterator[Mapping[str, Any]]:
        """What the test says."""
        self._call("writes")
        yield from self.written

    def drain(self, run: DataRun, report: Report) -> DataState:
        """Nothing to drain."""
        self._call("drain back" if run.back else "drain")
        return self.state(run)

    def writable(self, stack: Stack) -> bool:
        """Whether it was opened and not fenced since."""
        return stack.id in self.writers

    def open(self, stack: Stack) -> None:
        """Let it write."""
        self._call("open", stack)
        self.paused.discard(stack.id)
        self.writers.add(stack.id)

    def fence(self, stack: Stack, seconds: float | None) -> None:
        """Stop it writing; a pause remembers that it may write."""
        self._call("fence" if seconds is None else "pause", stack)
        if seconds is None:
            self.paused.discard(stack.id)
        elif stack.id in self.writers:
            self.paused.add(stack.id)
        self.writers.discard(stack.id)

    def unfence(self, stack: Stack) -> None:
        """Let it write again, if it could before the pause."""
        self._call("unfence", stack)
        self.writers |= self.paused & {stack.id}
        self.paused.discard(stack.id)

    def confirm_fence(self, stack: Stack, report: Report) -> None:
        """It is always sure."""
        self._call("confirm", stack)

    def forget(self, stack: Stack) -> None:
        """Take back what was given."""
        self._call("forget", stack)
        self.writers.discard(stack.id)
        self.paused.discard(stack.id)


def _side(run: DataRun) -> str:
    """The way there and the way back of one run, kept apart."""
    return f"{run.id} back" if run.back else run.id


class FakeEngine:
    """An engine whose crews do each unit at once by calling `perform`, and remember it."""

    def __init__(self, perform: Callable[[Unit], object] = bool) -> None:
        self.perform = perform
        self.offered: list[Unit] = []
        self.crews = 0

    def crew(self, job: Job, report: Report) -> FakeEngine:
        """Itself."""
        return self

    def __enter__(self) -> FakeEngine:
        """One more crew is at work."""
        self.crews += 1
        return self

    def __exit__(self, *_: object) -> None:
        """One less."""
        self.crews -= 1

    def offer(self, units: Sequence[Unit]) -> None:
        """Perform all of them, now."""
        for unit in units:
            self.offered.append(unit)
            self.perform(unit)


class FakeDns:
    """One record."""

    def __init__(self) -> None:
        self.target: str | None = None

    def current(self) -> str | None:
        """Where it points."""
        return self.target

    def point(self, target: Stack, expected: str | None) -> None:
        """Compare and swap."""
        wanted = target.outputs["LoadBalancerDNS"].lower().rstrip(".")
        if self.target not in (expected, wanted):
            raise Refused(f"the record points at {self.target}, not at {expected}")
        self.target = wanted
