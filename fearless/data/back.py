"""The way back: what the old release should find of an item, as the new release has it now."""

from __future__ import annotations

from collections.abc import Sequence

from fearless.data.canonical import item_bytes
from fearless.data.contract import Contract, listed
from fearless.data.items import Item
from fearless.data.keys import Keys, identity, in_order, same
from fearless.data.outcome import NOTHING, Failure, Outcome
from fearless.data.redact import explain
from fearless.data.stages import Stages
from fearless.data.tables import TableInfo, Typed
from fearless.data.validate import Invalid, check
from fearless.interfaces import Transform

Level = list[tuple[Item, list[Item] | None]]
"""Items as they are before a stage, each with what it makes of it; None is not known yet."""


class WayBack:
    """The `down` functions of a table's transforms, last one first.

    Old items that were never migrated (dropped, or in quarantine) stay in the old table as
    they are.
    """

    def __init__(
        self, source: TableInfo, keys: Keys, transforms: Sequence[Transform], stages: Stages
    ) -> None:
        self._source = source
        self._keys = keys
        self._transforms = transforms
        self._stages = stages
        why = [reason for reason in map(_one_way, transforms) if reason]
        if keys.renamed:
            why.append("the key attributes have other names in the new table")
        self.one_way = "; ".join(why)

    def __call__(self, members: Sequence[Typed], old: Typed | None) -> Outcome:
        """The old table's item, from all target items that belong to it and the one it has now."""
        if self.one_way:
            return Outcome({}, Failure("back", "OneWay", self.one_way))
        levels = self._levels(old)
        items = [Item(dict(member)) for member in members]
        for number in reversed(range(len(self._transforms))):
            transform = self._transforms[number]
            try:
                items = self._stage(number, items, levels[number])
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises is quarantined
                seen = [*members, *([old] if old else [])]
                function = transform.down or transform.function
                return Outcome({}, explain(error, transform.name, function, seen))
        return self._finish(items, old)

    def round_trip(self, source: Typed, outcome: Outcome) -> bool:
        """True when down(up(x), x) is x."""
        back = self(list(outcome.outputs.values()), source)
        came = list(back.outputs.values())
        return came == [source] or [item_bytes(item) for item in came] == [item_bytes(source)]

    def prefix(self, key: Typed) -> str | None:
        """What the range keys of all target items of an old key begin with, None if unknown."""
        owned = [t for t in self._transforms if t.kind == "owned"]
        if len(owned) != 1 or owned[0].prefix is None:
            return None
        try:
            return str(owned[0].prefix(Item(self._keys.in_source(self._keys.of_source(key)))))
        except Exception:  # noqa: BLE001 - reading the whole partition is right as well
            return None

    def _levels(self, old: Typed | None) -> list[Level]:
        levels: list[Level] = []
        items = [Item(dict(old))] if old else []
        for number in range(len(self._transforms)):
            if number == len(self._transforms) - 1:
                levels.append([(item, None) for item in items])
                break
            made = [self._migrated(number, item) for item in items]
            levels.append(list(zip(items, made, strict=True)))
            items = [output for outputs in made for output in outputs]
        return levels

    def _migrated(self, number: int, item: Item) -> list[Item]:
        try:
            return self._stages.one(number, item)
        except Exception:  # noqa: BLE001 - it is in quarantine, and never reached the target
            return []

    def _stage(self, number: int, items: list[Item], level: Level) -> list[Item]:
        transform = self._transforms[number]
        key_of = self._keys.of_source if number == 0 else self._keys.of
        olds = {identity(key_of(item.typed)): (item, outputs) for item, outputs in level}
        groups: dict[bytes, list[Item]] = {}
        for item in items:
            key = self._keys.of(item.typed)
            if transform.kind == "owned":
                key = self._keys.owner(transform, key)
            groups.setdefault(identity(key), []).append(item)
        results = []
        for group, members in groups.items():
            old, _ = olds.get(group, (None, None))
            result = self._down(transform, members, old)
            if result is not None:
                if identity(key_of(result.typed)) != group:
                    raise Contract("down() returned an item with another key")
                results.append(result)
        for group, (item, outputs) in olds.items():
            known = group in groups or outputs
            if not known and (outputs is not None or not self._migrated(number, item)):
                results.append(item)
        return results

    def _down(self, transform: Transform, members: list[Item], old: Item | None) -> Item | None:
        if transform.down is None:
            raise Contract("there is no down function")
        now = old.copy() if old is not None else None
        if transform.kind == "owned":
            found = in_order(members, self._keys.of)
            answer = transform.down([item.copy() for item in found], now)
        else:
            answer = transform.down(members[0].copy(), now)
        outputs = listed(answer, "down")
        if len(outputs) > 1:
            raise Contract("down() returned several items")
        return outputs[0] if outputs else None

    def _finish(self, items: list[Item], old: Typed | None) -> Outcome:
        if not items:
            return NOTHING
        name = self._transforms[0].name if self._transforms else "back"
        try:
            key = self._keys.of_source(items[0].typed)
            if len(items) > 1 or (old and not same(key, self._keys.of_source(old))):
                raise Contract("the items belong to several items of the old table")
            if items[0].typed != old:
                check(items[0].typed, self._source)
        except Contract as error:
            return Outcome({}, Failure(name, "Contract", str(error)))
        except Invalid as error:
            return Outcome({}, Failure(name, f"invalid:{error}", "DynamoDB refuses it"))
        return Outcome({self._source.key_id(items[0].typed): items[0].typed})


def _one_way(transform: Transform) -> str:
    if transform.down is not None:
        return ""
    if transform.irreversible:
        return f"{transform.name}: {transform.irreversible}"
    if transform.kind in ("keep-key", "owned"):
        return f"{transform.name} has no down function"
    return f"{transform.name}: there is no way back from a {transform.kind} transform"
