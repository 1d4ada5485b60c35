"""A dry run of a table's transforms on some of its items: what would become of them, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fearless.data.canonical import value_bytes
from fearless.data.difference import Change, differences
from fearless.data.items import Item
from fearless.data.outcome import Failed, Failure, Outcome
from fearless.data.sizes import bytes_of, human
from fearless.data.tables import Typed, show
from fearless.data.transform import Impure, Pipeline
from fearless.interfaces import Sample

EXAMPLES = 3
CHANGES = 12
FAILURES = 20


@dataclass(frozen=True)
class Example:
    """What one transform did to one item: the changes in each output, the likest one first.

    `key` is empty unless values may be shown.
    """

    outputs: tuple[tuple[Change, ...], ...]
    key: str = ""

    @property
    def shape(self) -> Any:
        """Equal for examples that show the same kind of change."""
        return tuple(tuple((c.what, c.name, c.to) for c in changes) for changes in self.outputs)

    @property
    def lines(self) -> list[str]:
        """For people."""
        if not self.outputs:
            return ["dropped"]
        lines = []
        for number, changes in enumerate(self.outputs[:EXAMPLES]):
            if number:
                lines.append("and another item:")
            lines += [f"  {change}" if number else str(change) for change in changes[:CHANGES]]
            if len(changes) > CHANGES:
                lines.append(f"  … and {len(changes) - CHANGES} more")
            if not changes:
                lines.append("as it was")
        if len(self.outputs) > EXAMPLES:
            lines.append(f"… and {len(self.outputs) - EXAMPLES} more items")
        return lines


@dataclass
class Stage:
    """What one transform did. Counts are of items it was given."""

    name: str
    given: int = 0
    changed: int = 0
    dropped: int = 0
    split: int = 0
    examples: list[Example] = field(default_factory=list)


class Trial:
    """The counts and examples of one table; nothing is written.

    `values` shows values in examples, which may be people's data. `partition(item)` reads all
    source items that share the item's hash key, for a collection; without it, a group is
    what the sample has of it.
    """

    def __init__(
        self,
        table: str,
        pipeline: Pipeline,
        values: bool = False,
        partition: Callable[[Typed], Iterable[Typed]] | None = None,
    ) -> None:
        self.table = table
        self.read = self.kept = self.changed = self.dropped = self.split = self.made = 0
        self.before = self.after = self.largest = self.not_back = 0
        self.failures: Counter[Failure] = Counter()
        self.stages = [Stage(transform.name) for transform in pipeline.transforms]
        self._pipeline = pipeline
        self._values = values
        self._partition = partition
        self._keys = pipeline.source.keys

    def run(self, items: Iterable[Typed]) -> Trial:
        """Migrate the items, twice each: an answer that changes is a failure."""
        found = list(items)
        self.read += len(found)
        for item in found:
            self._stages(item)
        if self._pipeline.kind == "collection":
            for members in self._groups(found):
                self._count(members, self._tried(members))
        else:
            for item in found:
                self._count([item], self._tried(item))
        return self

    @property
    def failed(self) -> int:
        """Items that could not be migrated."""
        return self.failures.total()

    @property
    def good(self) -> bool:
        """True when every item can be migrated, and taken back if there is a way back."""
        return not self.failed and not self.not_back

    @property
    def lines(self) -> list[str]:
        """The report for people."""
        lines = [
            f"{self.table}: {self.read:,} read, {self.kept:,} kept ({self.changed:,} changed), "
            f"{self.dropped:,} dropped, {self.split:,} split, {self.failed:,} failed; "
            f"{self.made:,} items made",
            f"  size: {human(self.before)} before, {human(self.after)} after"
            f"{self._growth()}; the largest item has {human(self.largest)}",
            f"  way back: {self._way_back()}",
        ]
        for failure, count in self.failures.most_common(FAILURES):
            lines.append(f"  fails: {count:,} × {failure}")
        if len(self.failures) > FAILURES:
            lines.append(f"  … and {len(self.failures) - FAILURES} other failures")
        for stage in self.stages:
            lines.append(
                f"  {stage.name}: {stage.changed:,} of {stage.given:,} changed, "
                f"{stage.dropped:,} dropped, {stage.split:,} split"
            )
            for example in stage.examples:
                lines.append(f"    for example {example.key}".rstrip() + ":")
                lines += [f"      {line}" for line in example.lines]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The report for programs; sizes are in bytes."""
        counts = ("read", "kept", "changed", "dropped", "split", "made", "failed", "not_back")
        return {
            "table": self.table,
            "kind": self._pipeline.kind,
            **{name: getattr(self, name) for name in counts},
            "bytes": {"before": self.before, "after": self.after, "largest": self.largest},
            "one_way": self._pipeline.one_way,
            "failures": [{**asdict(f), "count": n} for f, n in self.failures.most_common()],
            "transforms": [asdict(stage) for stage in self.stages],
        }

    @property
    def sample(self) -> Sample:
        """The report as the rest of Fearless takes it."""
        return Sample(
            self.table, self.read, self.failed, self.not_back, tuple(self.lines), self.as_dict()
        )

    def _tried(self, source: Typed | Sequence[Typed]) -> Outcome:
        pipeline = self._pipeline
        outcome = pipeline(source) if isinstance(source, dict) else pipeline.merged(source)
        try:
            pipeline.check_pure(source, outcome)
        except Impure:
            names = ", ".join(stage.name for stage in self.stages)
            return Outcome({}, Failure(names, "Impure", "two answers for one item"))
        return outcome

    def _count(self, sources: Sequence[Typed], outcome: Outcome) -> None:
        if outcome.failure is not None:
            self.failures[outcome.failure] += len(sources)
            return
        outputs = list(outcome.outputs.values())
        self.before += sum(map(bytes_of, sources))
        self.kept += len(sources) if outputs else 0
        self.dropped += 0 if outputs else len(sources)
        self.split += len(outputs) > len(sources)
        self.changed += len(sources) if outputs and outputs != list(sources) else 0
        self.made += len(outputs)
        sizes = [bytes_of(output) for output in outputs]
        self.after += sum(sizes)
        self.largest = max([self.largest, *sizes])
        if not self._pipeline.one_way:
            self.not_back += not self._pipeline.round_trip(sources[0], outcome)

    def _groups(self, items: list[Typed]) -> Iterable[list[Typed]]:
        groups: dict[tuple[bytes, str], list[Typed]] = {}
        for item in items:
            hash_key = value_bytes(item[self._keys[0]])
            try:
                name = self._pipeline.group(item)
            except Failed as error:
                self.failures[error.failure] += 1
                continue
            if not name:
                self.dropped += 1
            else:
                groups.setdefault((hash_key, name), []).append(item)
        for (_, name), members in groups.items():
            yield members if self._partition is None else self._members(members[0], name)

    def _members(self, item: Typed, name: str) -> list[Typed]:
        assert self._partition is not None
        members = []
        for other in self._partition(item):
            try:
                if self._pipeline.group(other) == name:
                    members.append(other)
            except Failed:
                continue
        return members

    def _stages(self, source: Typed) -> None:
        items = [Item(dict(source))]
        for number, stage in enumerate(self.stages):
            if self._pipeline.transforms[number].kind == "collection":
                return
            made: list[Item] = []
            for item in items:
                try:
                    outputs = self._pipeline.stages.one(number, item)
                except Exception:  # noqa: BLE001 - counted as a failure of the whole item
                    return
                self._note(stage, item, outputs)
                made += outputs
            items = made

    def _note(self, stage: Stage, item: Item, outputs: list[Item]) -> None:
        stage.given += 1
        if outputs == [item]:
            return
        stage.changed += bool(outputs)
        stage.dropped += not outputs
        stage.split += len(outputs) > 1
        if len(stage.examples) < EXAMPLES:
            found = [differences(item.typed, output.typed, self._values) for output in outputs]
            found.sort(key=len)
            key = {name: item.typed[name] for name in self._keys if name in item}
            example = Example(tuple(found), show(key) if self._values else "")
            if example.shape not in [other.shape for other in stage.examples]:
                stage.examples.append(example)

    def _growth(self) -> str:
        if not self.before:
            return ""
        return f" ({(self.after - self.before) / self.before:+.0%})"

    def _way_back(self) -> str:
        if self._pipeline.one_way:
            return f"none ({self._pipeline.one_way})"
        if self.not_back:
            compared = self.kept + self.dropped
            return f"{self.not_back:,} of {compared:,} items do not come back as they were"
        return "every item comes back as it was"
