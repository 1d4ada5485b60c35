"""Make the `Table`s of a run for one process: tables looked at, transforms bound, rows loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fearless.data.calls import Brake, Caller
from fearless.data.context import Table
from fearless.data.job import Clients, Pair
from fearless.data.machinery import Machinery
from fearless.data.position import describe
from fearless.data.quarantine import Quarantine
from fearless.data.settings import Settings
from fearless.data.state import Row, StateTable
from fearless.data.tables import TableInfo
from fearless.data.transform import Pipeline, digest_of
from fearless.data.wire import Wire
from fearless.interfaces import Transform


class Tables:
    """What every table of a run has in common, in one process."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        transforms: Sequence[Transform],
        clients: Clients,
        state: StateTable,
        settings: Settings,
        machinery: Machinery,
        back: bool,
        brake: Brake | None = None,
    ) -> None:
        self.pairs = tuple(pairs)
        self.clients = clients
        self.state = state
        self.settings = settings
        self.machinery = machinery
        self.back = back
        self._transforms = tuple(transforms)
        self._brake = brake

    def digests(self) -> dict[str, str]:
        """What identifies the code of each table's transforms."""
        return {pair.name: digest_of(pair.name, self._transforms) for pair in self.pairs}

    def infos(self, pair: Pair) -> tuple[TableInfo, TableInfo]:
        """Source and target as they are now. Raises Missing."""
        reader = self.caller(lambda: None)
        return (
            describe(reader, self.clients.source, pair.source),
            describe(reader, self.clients.target, pair.target),
        )

    def pipeline(self, pair: Pair, source: TableInfo, target: TableInfo) -> Pipeline:
        """T of a table. It goes from the old table to the new one, on the way back too."""
        old, new = (target, source) if self.back else (source, target)
        return Pipeline(pair.name, new, self._transforms, old)

    def caller(self, guard: Callable[[], None]) -> Caller:
        """Calls that change nothing of the target."""
        kit = self.machinery
        return Caller(guard, lambda: None, kit.clock, kit.sleep, rng=kit.random())

    def make(self, meta: Row, guard: Callable[[], None]) -> dict[str, Table]:
        """Every table of the run that META describes.

        `guard` is asked before each write, and once more right before a wire client sends it.
        """
        clients = self.clients
        if isinstance(clients.target, Wire):
            clients = replace(clients, target=clients.target.guarded(guard))
        generation = int(meta["generation"])
        return {
            pair.name: self._make(pair, meta["tables"][pair.name], generation, guard, clients)
            for pair in self.pairs
        }

    def _make(
        self,
        pair: Pair,
        position: Row,
        generation: int,
        guard: Callable[[], None],
        clients: Clients,
    ) -> Table:
        source, target = self.infos(pair)
        return Table(
            name=pair.name,
            source=source,
            target=target,
            migrate=self.pipeline(pair, source, target),
            position=position,
            generation=generation,
            clients=clients,
            state=self.state,
            quarantine=Quarantine(self.state, lambda: self.caller(guard), generation, pair.name),
            settings=self.settings,
            machinery=self.machinery,
            brake=self._brake,
            guard=guard,
            back=self.back,
        )


def same_code(meta: Row, digests: Mapping[str, str]) -> bool:
    """Whether the transforms are those that the run was begun with."""
    return bool(meta["digests"] == digests)
