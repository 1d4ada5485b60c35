"""One run of the release procedure: what every step shares, and how a step is performed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from fearless import names
from fearless.errors import FearlessError, Refused
from fearless.git import OPS
from fearless.interfaces import (
    DataRun,
    Event,
    MachineImage,
    Release,
    Report,
    Stack,
    TableSpec,
    Transform,
)
from fearless.ledger import Ledger, Live, StepRecord
from fearless.lock import Lock
from fearless.owner import boottime
from fearless.project import Project, transforms


@dataclass(frozen=True)
class Done:
    """What came of a step: one line for people, and facts for `json=1` and the ledger."""

    detail: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Step(Protocol):
    """A step of the procedure: `find` what is there already by asking the world, or `make` it."""

    procedure: Procedure

    @property
    def name(self) -> str:
        """The step's name, as its task is called."""

    def find(self) -> Done | None:
        """What the step would make, if it is there already. Changes nothing."""

    def make(self) -> Done:
        """Make it. Tolerates "already there"; resumes what was interrupted."""


class Procedure:
    """A release (or dev stack) being made: its project, names, ledger, lock and report."""

    def __init__(
        self,
        project: Project,
        release: Release,
        report: Report,
        doing: str,
        monotonic: Callable[[], float] = boottime,
    ) -> None:
        self.project = project
        self.release = release
        self.report = report
        self.monotonic = monotonic
        name = "release" if release.kind == "release" else release.stack_name
        self.lock = Lock(project.ledger, doing, name=name)

    @property
    def ledger(self) -> Ledger:
        """The release ledger."""
        return self.project.ledger

    def live(self) -> Live | None:
        """What is live now."""
        return self.ledger.live()

    @property
    def is_live(self) -> bool:
        """Whether the stack of this release is the live one."""
        live = self.live()
        return live is not None and live.sha == self.release.sha and self.release.kind == "release"

    def stack(self) -> Stack | None:
        """This release's stack, if it is complete. Refuses one that is another SHA's."""
        stack = self.project.provisioner.find(self.release.stack_name)
        if stack is None or not stack.ready:
            return None
        if stack.tags.get("fearless:app") != self.release.app:
            raise Refused(f"stack {stack.name} is not ours: it has no tag fearless:app")
        if self.release.kind == "release" and stack.sha != self.release.sha:
            raise Refused(f"stack {stack.name} was made from {stack.sha}, not {self.release.sha}")
        return stack

    def need_stack(self) -> Stack:
        """This release's stack; an error that says how to get one otherwise."""
        stack = self.stack()
        if stack is None:
            raise FearlessError(f"there is no stack {self.release.stack_name}; run `doit stack`")
        return stack

    def live_stack(self) -> Stack | None:
        """The live stack, found by the id the live pointer holds."""
        live = self.live()
        if live is None:
            return None
        stack = self.project.provisioner.find(live.stack)
        if stack is None or stack.id != live.stack_id:
            raise FearlessError(
                f"the ledger says {live.stack} is live, but there is no such stack "
                f"({live.stack_id}); it was deleted behind Fearless's back: see docs/recovery.md"
            )
        return stack

    def machine_image(self) -> MachineImage:
        """This release's machine image."""
        found = self.project.baker.find(self.release)
        if found is None:
            raise FearlessError(f"{self.release.short} has no machine image; run `doit ami`")
        return found

    def url(self, stack: Stack) -> str:
        """The base URL of a stack's own load balancer."""
        outputs = stack.outputs
        return self.project.cloud.url(outputs["LoadBalancerDNS"], int(outputs["ListenerPort"]))

    def public_url(self) -> str:
        """The base URL users reach the app by."""
        return self.project.app_url or self.project.cloud.public_url(self.project.domain)

    @cached_property
    def transforms(self) -> tuple[Any, ...]:
        """The app's transforms at this SHA."""
        return transforms(self.project, self.release)

    def lineage(self, live: Live | None) -> tuple[str, ...]:
        """All transforms the data will have been through once this release is live."""
        mine = tuple(f"{t.name}@{t.source_digest}" for t in self.transforms)
        before = live.transforms if live else ()
        return before + tuple(t for t in mine if t.split("@")[0] not in _names(before))

    def data_run(self) -> DataRun | None:
        """How production's data gets into this release's stack; None when there is none to move.

        Refuses when the live data has been through a transform this SHA does not know, or
        when a stack that was live before would be filled again.
        """
        live, source = self.live(), self.live_stack()
        if live is None or source is None:
            return None
        target = self.need_stack()
        if source.id == target.id:
            return None
        before = self.ledger.release(self.release.sha) or {}
        if self.release.kind == "release" and before.get("went_live") == target.id:
            raise Refused(
                f"{target.name} was live before {live.stack}; its data is behind. Release a new "
                "commit (`git revert` makes one), or delete it with `doit retire` and release again"
            )
        return self._run(live, source, target)

    def sample_run(self) -> DataRun | None:
        """The same run, to look only: also before there is a stack to fill."""
        live, source = self.live(), self.live_stack()
        if live is None or source is None or self.is_live:
            return None
        return self._run(live, source, self.stack() or source)

    def _run(self, live: Live, source: Stack, target: Stack) -> DataRun | None:
        self._check_lineage(live)
        self._check_tables(source)
        shared = tuple(s for s in self.project.tables if f"Table{s.logical_id}" in source.outputs)
        if not shared:
            return None
        return DataRun(
            id=names.run_id(target.name, target.id),
            source=source,
            target=target,
            tables=shared,
            transforms=not_applied(self.transforms, live.transforms),
        )

    def _check_lineage(self, live: Live) -> None:
        """Refuse a commit that is older than what is live and lacks one of its transforms.

        A newer one may have thrown away what was applied long ago.
        """
        known = {t.name for t in self.transforms}
        unknown = [name for name in _names(live.transforms) if name not in known]
        if unknown and not self.project.git.is_ancestor(live.sha, self.release.sha):
            raise Refused(
                f"the live data has been through the transform {unknown[0]!r}, which "
                f"{self.release.short} does not have, and {self.release.short} does not descend "
                f"from the live {live.sha[:7]}: its code would not understand the data. Release a "
                "descendant of the live commit"
            )

    def _check_tables(self, source: Stack) -> None:
        """Refuse to leave a table of the live stack behind without a word."""
        declared = {f"Table{spec.logical_id}" for spec in self.project.tables}
        dropped = {
            f"Table{TableSpec(name, '').logical_id}": name for name in self.project.config.dropped
        }
        for output in sorted(source.outputs):
            if output.startswith("Table") and output not in declared and output not in dropped:
                raise Refused(
                    f"the live stack {source.name} has a table {output.removeprefix('Table')!r} "
                    f"that {self.release.short} does not declare: its data would be left behind. "
                    "Declare it under [tables], or give the reason under [dropped]"
                )

    def settled(self) -> Done | None:
        """What every step before the cutover finds once it has nothing left to do."""
        if self.is_live:
            return Done("live")
        if self.sealed():
            return Done("proven before the cutover that was interrupted")
        return None

    # ------------------------------------------------------------------ performing

    def change(self) -> None:
        """Called right before anything is changed: takes the operator lock, or refuses.

        The first time, a release undoes an old cutover that left production's writes paused.
        Only the holder of the releases' lock may: a pause may be a cutover that is under way.
        """
        first = not self.lock.held
        self.lock.hold()
        if first and self.release.kind == "release":
            self.mend()

    def mend(self) -> None:
        """Let the live stack write again, unless this very release is to finish its cutover."""
        if not self.is_live:
            self.check_rolled_back()
        source = self.live_stack()
        if source is None or self.writable(source) or self.sealed():
            return
        self.unseal()
        self.project.store.open(source)
        self.report.line(
            f"writes to {source.name} were still paused by a cutover that was interrupted; "
            "they go on"
        )

    def check_rolled_back(self) -> None:
        """Refuse when the live stack is so by a rollback that was interrupted: DNS lags behind."""
        live, row = self.live(), self.ledger.get("ROLLBACK", "ROLLBACK")
        if live is not None and row and row["to"] == live.stack_id and not row.get("done"):
            raise Refused(
                f"the rollback to {live.stack} was interrupted: finish it with `doit rollback`"
            )

    def writable(self, stack: Stack) -> bool:
        """Whether the stack's applications may write; a stack without tables needs no leave."""
        tables = any(name.startswith("Table") for name in stack.outputs)
        return not tables or self.project.store.writable(stack)

    def seal(self, source: Stack, target: Stack) -> None:
        """Remember that `source` is closed for good and `target` proven equal to it."""
        self.ledger.put("SEAL", "SEAL", {"source": source.id, "target": target.id})

    def unseal(self) -> None:
        """Forget it: called before anything that may let `source` be written again."""
        self.ledger.delete("SEAL", "SEAL")

    def sealed(self) -> bool:
        """Whether this release's stack was proven equal to the live one, closed ever since."""
        row, live, stack = self.ledger.get("SEAL", "SEAL"), self.live(), self.stack()
        if row is None or live is None or stack is None:
            return False
        if (row["source"], row["target"]) != (live.stack_id, stack.id):
            return False
        source = self.live_stack()
        return source is not None and not self.project.store.writable(source)

    def perform(self, step: Step) -> StepRecord:
        """Make a step under the lock; remember and announce what came of it."""
        self.guard()
        self.change()
        began = self.monotonic()
        try:
            done = step.make()
        except FearlessError as error:
            self.announce("step_failed", f"{step.name}: {error}")
            raise
        seconds = self.monotonic() - began
        record = StepRecord(
            step.name, self.ledger.clock(), round(seconds, 3), done.detail, dict(done.data)
        )
        self.ledger.step_done(self.release, record)
        self.announce("step_done", f"{step.name}: {done.detail}")
        return record

    def guard(self) -> None:
        """Refuse to release a commit whose ops code is not what lies in the work tree."""
        if self.release.kind != "release" or self.project.ops != self.project.root:
            return
        changes = self.project.git.changes(OPS)
        if changes:
            shown = ", ".join(line[3:] for line in changes[:5])
            more = f" and {len(changes) - 5} more" if len(changes) > 5 else ""
            raise Refused(
                f"the work tree differs from {self.release.short}: {shown}{more}; commit or "
                "stash first, a release is exactly one SHA"
            )

    def announce(self, kind: str, message: str) -> None:
        """Tell every notifier. One that fails is reported and stops nothing."""
        event = Event(kind, self.release, message, datetime.now(UTC))
        for problem in self.project.plugins.tell("notify", event=event):
            self.report.line(f"warning: {problem}")


def not_applied(found: Iterable[Transform], lineage: tuple[str, ...]) -> tuple[Transform, ...]:
    """The transforms that data of this lineage has not been through, in order."""
    applied = _names(lineage)
    return tuple(t for t in found if t.name not in applied)


def when(at: float) -> str:
    """A Unix time as people read it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _names(lineage: tuple[str, ...]) -> list[str]:
    return [entry.split("@")[0] for entry in lineage]
