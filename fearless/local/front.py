"""What answers requests: a Caddy for each load balancer, and the edge that follows the name."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

from fearless.local import sockets
from fearless.local.balancer import (
    NO_TARGET,
    Balancer,
    Config,
    Targets,
    balancer_config,
    edge_config,
    edge_upstream,
    pool_files,
    pool_name,
)
from fearless.local.caddy import Caddy
from fearless.local.directory import Directory
from fearless.local.world import World

log = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds a deleted load balancer has for the requests under way."""


class Front:
    """Every Caddy. `scratch` is a private directory with a short path, for their sockets.

    The listening sockets are opened here and inherited: they outlive a Caddy that dies.
    """

    def __init__(self, directory: Directory, scratch: Path, domain: str, port: int) -> None:
        self.domain, self.port = domain, port
        self.target: str | None = None
        self.problem = ""
        self.problems: dict[str, str] = {}
        self.balancers: dict[str, Caddy] = {}
        self._directory, self._scratch = directory, scratch
        self._leaving: list[tuple[Caddy, float]] = []
        self._made = 0
        self._pools = scratch / "pools"
        self._written: dict[str, dict[str, str]] = {}
        self.edge = self._caddy("edge", {port: sockets.listen(port)})

    def _caddy(self, name: str, listening: Mapping[int, socket.socket]) -> Caddy:
        self._made += 1
        log_file = self._directory.logs / f"{name}.log"
        root = self._directory.root
        return Caddy(f"c{self._made}", self._scratch, log_file, root, listening)

    @property
    def running(self) -> list[Caddy]:
        """Every Caddy that runs, those that are stopping too."""
        return [self.edge, *self.balancers.values(), *(caddy for caddy, _ in self._leaving)]

    def step(self, world: World, targets: Targets, now: float) -> None:
        """Make every Caddy serve what the cloud says."""
        wanted = {balancer.arn: balancer for balancer in world.balancers if balancer.listeners}
        for arn, caddy in list(self.balancers.items()):
            if arn not in wanted or wanted[arn].ports != caddy.sockets.keys():
                self._dismiss(arn, now)
        for arn, balancer in wanted.items():
            if arn not in self.balancers:
                self._open(balancer)
            if arn in self.balancers:
                caddy = self.balancers[arn]
                for groups in {r.groups for li in balancer.listeners for r in li.rules if r.groups}:
                    hosts = {host for arn in groups for host in targets.get(arn, ())}
                    self._fill(pool_name(groups), pool_files(sorted(hosts), NO_TARGET))
                config = balancer_config(balancer, caddy.socket, caddy.fds, str(self._pools))
                self._apply(caddy, config, now)
        self._follow(world, now)
        self._bury(now)

    def _open(self, balancer: Balancer) -> None:
        opened: dict[int, socket.socket] = {}
        try:
            for port in balancer.ports:
                opened[port] = sockets.listen(port)
        except OSError as error:
            for listener in opened.values():
                listener.close()
            self.problems[balancer.arn] = f"port {port}: {error.strerror}"
            return
        self.problems.pop(balancer.arn, None)
        self.balancers[balancer.arn] = self._caddy(f"lb-{balancer.name}", opened)

    def _dismiss(self, arn: str, now: float) -> None:
        caddy = self.balancers.pop(arn)
        log.info("%s: stops", caddy.log.stem)
        caddy.ask_to_stop()
        self._leaving.append((caddy, now + GRACE))

    def _follow(self, world: World, now: float) -> None:
        upstream, reason = edge_upstream(self.domain, world.alias, world.balancers)
        if world.alias != self.target:
            log.info("%s points at %s", self.domain, world.alias)
        self.target = world.alias
        self._fill("edge", pool_files([upstream] if upstream else [], reason, slots=1))
        pool = str(self._pools / "edge")
        self._apply(self.edge, edge_config(self.edge.socket, self.edge.fds[self.port], pool), now)
        self.problem = self.edge.failure or reason.strip()

    def _fill(self, pool: str, files: Mapping[str, str]) -> None:
        """Write what changed, each file as a whole: a request may be reading it."""
        if self._written.get(pool) == files:
            return
        folder = self._pools / pool
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            if self._written.get(pool, {}).get(name) != content:
                scratch = folder / "new"
                scratch.write_text(content)
                scratch.replace(folder / name)
        self._written[pool] = dict(files)

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
        if balancer.arn in self.problems:
            return self.problems[balancer.arn]
        caddy = self.balancers.get(balancer.arn)
        return caddy.failure if caddy else ""

    def stop(self) -> None:
        """Stop taking requests, finish those under way, end: the edge first."""
        self.edge.stop(5)
        for caddy in self.running[1:]:
            caddy.ask_to_stop()
        for caddy in self.running[1:]:
            caddy.stop(5)
