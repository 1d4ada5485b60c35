"""Merge all source items of a group into items of the target: class `collection`.

What a group becomes follows from all its members, and no record of the stream holds those. So a
change only says which groups to look at again, and each is settled by *level*: read all members,
merge them, keep the keys about to be written in the group's row, put the outputs, delete every
other key in that row, and read the members again; if they changed, once more. An item that moves
between two groups has an old image in one and a new image in the other: both are settled.

No lock is needed. Let M be the members of a group after their last change, W = merge(M).
- The record of that change is applied by a pass that begins later, so some round reads M; it puts
  all of W and deletes the rest of the row.
- A round that read other members either wrote everything before the last change, and thus before
  that pass; or it reads the members again after the change, finds M, and goes on with a round that
  reads M, after its own writes and with its own keys in the row, which never loses a key. Either
  way a round with M follows it and undoes it, and rounds with M do not disagree.
- Who dies between its writes and its second look has not checkpointed the record, so another one
  begins anew, with the dead one's keys in the row. Requests that land late are, as everywhere,
  made up for by settling suspects when none can be under way any more.
During the first copy one round without a second look is enough: whatever changes after it was
read is replayed after the barrier.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from fearless.data.groups import Group, Groups, by_partition, state
from fearless.data.outcome import Failure, Outcome
from fearless.data.redact import redact
from fearless.data.tables import TableInfo, Typed
from fearless.data.writer import Op, Rejected

ROUNDS = 12
REMEMBERED = 10_000

Fate = Literal["kept", "dropped", "quarantined"]
FATES: tuple[Fate, ...] = ("kept", "dropped", "quarantined")
Write = Callable[[Sequence[Op]], Sequence[Rejected]]


class Rows(Protocol):
    """Where the keys that were ever written for each group are kept."""

    def add(self, group: Group, keys: Iterable[Typed]) -> Sequence[Typed]:
        """Keep these, too, and return all of them; durable when it returns."""


class Aside(Protocol):
    """The part of a quarantine that groups need."""

    def add(self, info: TableInfo, key: Typed, failure: Failure, seq: str) -> None:
        """Keep a source item aside."""

    def resolve(self, key_id: bytes) -> None:
        """It is migrated, or gone."""


class Change(Protocol):
    """What happened to one source item: its states, the one before the first change first."""

    @property
    def key(self) -> Typed: ...

    @property
    def states(self) -> Sequence[Typed | None]: ...

    @property
    def seq(self) -> str: ...


@dataclass(frozen=True)
class Settled:
    """A group that was looked at: its members and outputs then, and every key it ever had.

    `moving`: its members changed all the time, and it must be looked at again.
    """

    group: Group
    members: Sequence[Typed]
    outcome: Outcome
    keys: Sequence[Typed]
    moving: bool = False

    @property
    def fate(self) -> Fate:
        """What became of each of its members."""
        if self.outcome.failure:
            return "quarantined"
        return "kept" if self.outcome.outputs else "dropped"


class Merger:
    """The groups of one table while they are written to `target`. For one thread."""

    def __init__(self, groups: Groups, target: TableInfo, rows: Rows, aside: Aside) -> None:
        self.groups = groups
        self.target = target
        self.rows = rows
        self.aside = aside
        self._source = groups.source
        self._copied: OrderedDict[bytes, Fate] = OrderedDict()

    def copy(self, items: Sequence[Typed], write: Write) -> dict[str, int]:
        """Settle the groups of a page of source items; counts as of a copied page.

        A group whose members fill many pages is settled once, unless others come in between.
        """
        groups, failures = self.groups.find(items)
        new = [group for key, group in groups.items() if key not in self._copied]
        written = 0
        settled = self.settle(new, write, "copy", rounds=1)
        for done in settled:
            self._copied[done.group.id] = done.fate
            written += len(done.outcome.outputs)
        self._check_pure(settled)
        fates: Counter[Fate] = Counter()
        for item in items:
            key_id = self._source.key_id(item)
            if key_id in failures:
                self.aside.add(self._source, self._source.key(item), failures[key_id], "copy")
                fates["quarantined"] += 1
            else:
                group = self.groups.group(item)
                fates[self._copied[group.id] if group else "dropped"] += 1
        counts: dict[str, int] = {fate: fates[fate] for fate in FATES}
        while len(self._copied) > REMEMBERED:
            self._copied.popitem(last=False)
        return {**counts, "read": len(items), "written": written, "changed": fates["kept"]}

    def apply(self, changes: Iterable[Change], write: Write) -> list[Settled]:
        """Settle every group that the changes touched. Those `moving` must be kept as suspects."""
        changes = list(changes)
        groups, _ = self.groups.find(image for change in changes for image in change.states)
        done = self.settle(groups.values(), write, changes[-1].seq if changes else "")
        for change in changes:
            self._single(change.key, change.states[-1], change.seq)
        self._check_pure(done)
        return done

    def repair(self, groups: Iterable[Group], write: Write, seq: str = "repair") -> list[Settled]:
        """Settle groups: suspects, or what verification found."""
        return self.settle(groups, write, seq)

    def retry(self, keys: Iterable[Typed], write: Write) -> list[Settled]:
        """Settle the groups of quarantined source items, as they are now."""
        keys = list(keys)
        items = self.groups.items(keys)
        groups, _ = self.groups.find(items.values())
        done = self.repair(groups.values(), write)
        for key in keys:
            self._single(key, items.get(self._source.key_id(key)), "repair")
        return done

    def _single(self, key: Typed, item: Typed | None, seq: str) -> None:
        """Put aside an item whose group cannot be told; one that belongs to none is done with."""
        groups, failures = self.groups.find([item])
        for failure in failures.values():
            self.aside.add(self._source, self._source.key(key), failure, seq)
        if not groups and not failures:
            self.aside.resolve(self._source.key_id(key))

    def _check_pure(self, done: Sequence[Settled]) -> None:
        """Of one group: that merging gives one answer. Raises Impure."""
        for settled in done[:1]:
            self.groups.migrate.check_pure(settled.members)

    def settle(
        self, groups: Iterable[Group], write: Write, seq: str, rounds: int = ROUNDS
    ) -> list[Settled]:
        """Make the target hold what each of the groups is now; `write` as a Writer's `write`."""
        return [
            done
            for part in by_partition(groups)
            for done in _Partition(self, part, write, seq).settle(rounds)
        ]


class _Partition:
    """Some groups of one partition while they are settled together: one Query serves all."""

    def __init__(self, merger: Merger, part: Sequence[Group], write: Write, seq: str) -> None:
        self._merger = merger
        self._left = {group.id: group for group in part}
        self._hash = part[0].hash
        self._write = write
        self._seq = seq

    def settle(self, rounds: int) -> list[Settled]:
        done: list[Settled] = []
        before = self._members()
        for attempt in range(rounds):
            found = self._round(before)
            after = self._members() if rounds > 1 else before
            for settled in found:
                key = settled.group.id
                if state(before[key]) == state(after[key]):
                    self._conclude(settled)
                    done.append(settled)
                    del self._left[key]
                elif attempt == rounds - 1:
                    done.append(replace(settled, moving=True))
            if not self._left:
                break
            before = after
        return done

    def _members(self) -> dict[bytes, list[Typed]]:
        found = self._merger.groups.members(self._hash)
        return {key: found.get(group.name, []) for key, group in self._left.items()}

    def _round(self, members: Mapping[bytes, list[Typed]]) -> list[Settled]:
        """Write every group once."""
        target = self._merger.target
        outcomes = {key: self._merger.groups.migrate.merged(members[key]) for key in self._left}
        _deny_clashes(outcomes)
        found: dict[bytes, Settled] = {}
        ops: list[Op] = []
        for key, group in self._left.items():
            outcome = outcomes[key]
            keys = self._merger.rows.add(group, map(target.key, outcome.outputs.values()))
            found[key] = Settled(group, members[key], outcome, keys)
            if outcome.failure is None:
                ops += self._ops(key, outcome, keys)
        wanted = {op.key_id for op in ops if op.item}
        for answer in self._write([op for op in ops if op.item or op.key_id not in wanted]):
            message = redact(answer.message, answer.op.item or answer.op.key)
            failure = Failure("copy", "invalid:refused by the table", message)
            settled = found[answer.op.source]
            found[answer.op.source] = replace(settled, outcome=Outcome({}, failure))
        return list(found.values())

    def _ops(self, source: bytes, outcome: Outcome, keys: Iterable[Typed]) -> Iterator[Op]:
        target = self._merger.target
        for key_id, output in outcome.outputs.items():
            yield Op(key_id, target.key(output), output, source)
        for key in keys:
            key_id = target.key_id(key)
            if key_id not in outcome.outputs:
                yield Op(key_id, dict(key), None, source)

    def _conclude(self, settled: Settled) -> None:
        source, aside = self._merger.groups.source, self._merger.aside
        for item in settled.members:
            if settled.outcome.failure:
                aside.add(source, source.key(item), settled.outcome.failure, self._seq)
            else:
                aside.resolve(source.key_id(item))


def _deny_clashes(outcomes: dict[bytes, Outcome]) -> None:
    """Two groups that make one item: neither is right, and neither is written."""
    makers: dict[bytes, list[bytes]] = {}
    for group, outcome in outcomes.items():
        for key_id in outcome.outputs:
            makers.setdefault(key_id, []).append(group)
    clash = Failure("merge", "Contract", "two groups make an item of one key")
    for groups in makers.values():
        if len(groups) > 1:
            outcomes.update(dict.fromkeys(groups, Outcome({}, clash)))
