"""What answers requests: a Caddy for each load balancer, and the edge that follows the name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fearless.local.balancer import Balancer, Config, balancer_config, edge_config, edge_upstream
from fearless.local.caddy import Caddy
from fearless.local.directory import Directory
from fearless.local.world import World

log = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds a deleted load balancer has for the requests under way."""


class Front:
    """Every Caddy. `scratch` is a private directory with a short path, for their sockets."""

    def __init__(self, directory: Directory, scratch: Path, domain: str, port: int) -> None:
        self.domain, self.port = domain, port
        self.target: str | None = None
        self.problem = ""
        self.balancers: dict[str, Caddy] = {}
        self._directory, self._scratch = directory, scratch
        self._leaving: list[tuple[Caddy, float]] = []
        self._made = 0
        self.edge = self._caddy("edge")
        self.edge.wait_until_ready()

    def _caddy(self, name: str) -> Caddy:
        self._made += 1
        log_file = self._directory.logs / f"{'edge' if name == 'edge' else f'lb-{name}'}.log"
        return Caddy(f"c{self._made}", self._scratch, log_file, self._directory.root)

    @property
    def running(self) -> list[Caddy]:
        """Every Caddy that runs, those that are stopping too."""
        return [self.edge, *self.balancers.values(), *(caddy for caddy, _ in self._leaving)]

    def step(self, world: World, targets: Mapping[str, Sequence[str]], now: float) -> None:
        """Make every Caddy serve what the cloud says."""
        wanted = {balancer.arn: balancer for balancer in world.balancers}
        for arn in set(self.balancers) - set(wanted):
            log.info("load balancer %s is gone", arn)
            caddy = self.balancers.pop(arn)
            caddy.ask_to_stop()
            self._leaving.append((caddy, now + GRACE))
        for arn, balancer in wanted.items():
            if arn not in self.balancers:
                self.balancers[arn] = self._caddy(balancer.name)
            caddy = self.balancers[arn]
            self._apply(caddy, balancer_config(balancer, targets, caddy.socket), now)
        self._follow(world, now)
        self._bury(now)

    def _follow(self, world: World, now: float) -> None:
        upstream, reason = edge_upstream(self.domain, world.alias, world.balancers)
        if world.alias != self.target:
            log.info("%s points at %s", self.domain, world.alias)
        self.target, self.problem = world.alias, reason.strip()
        config = edge_config(self.port, upstream, reason, self.edge.socket)
        self._apply(self.edge, config, now)
        self.problem = self.edge.failure or self.problem

    def _apply(self, caddy: Caddy, config: Config, now: float) -> None:
        before = caddy.failure
        if not caddy.apply(config, now) and caddy.failure not in (before, "starting"):
            log.warning("%s: %s", caddy.log.stem, caddy.failure)

    def _bury(self, now: float) -> None:
        for caddy, deadline in list(self._leaving):
            if caddy.process.poll() is not None or now >= deadline:
                caddy.stop(0)
                self._leaving.remove((caddy, deadline))

    def problem_of(self, balancer: Balancer) -> str:
        """Why a load balancer does not serve; empty when it does."""
        caddy = self.balancers.get(balancer.arn)
        return caddy.failure if caddy else "starting"

    def stop(self) -> None:
        """Stop taking requests, finish those under way, end: the edge first."""
        self.edge.stop(5)
        for caddy in self.running[1:]:
            caddy.ask_to_stop()
        for caddy in self.running[1:]:
            with suppress(ProcessLookupError):
                caddy.stop(5)
