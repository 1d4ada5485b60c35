"""Fearless: one run with every guarantee, by itself or with worker processes."""

from __future__ import annotations

import uuid

from benchmarks.contenders.program import Order, Steps, run
from benchmarks.contenders.transforms import chosen
from fearless.builtin.engines.processes import Processes
from fearless.data.engine import Migration
from fearless.data.hire import connect
from fearless.data.job import Endpoint, Job, Pair
from fearless.data.machinery import Machinery
from fearless.data.pipe import Keys
from fearless.data.settings import Settings


class Quiet:
    """A report nobody reads."""

    def line(self, text: str) -> None:
        """Nothing."""

    def progress(self, label: str, done: int, total: int | None = None, note: str = "") -> None:
        """Nothing."""


def prepare(order: Order) -> Steps:
    """The run as the release makes it: wire clients, the server's clock, default settings."""
    tables = Endpoint(order.url, "us-east-1")
    keys = Keys("test", "test", None)
    workers = max(1, order.processes)
    settings = Settings(segments=4 * workers, threads=order.threads)
    job = Job(
        run=uuid.uuid4().hex[:8],
        state_table=order.state,
        pairs=(Pair("items", order.source, order.target),),
        settings=settings,
        source=tables,
        target=tables,
        state=Endpoint(order.state_url, "us-east-1"),
        transforms="benchmarks.contenders.transforms:chosen",
        arguments={"renaming": order.rename},
        credentials=dict.fromkeys(("source", "target", "state"), keys),
    )
    clients = connect(job)
    migration = Migration(
        job.run,
        job.pairs,
        chosen(order.rename),
        clients,
        job.state_table,
        Quiet(),
        settings,
        Machinery(wall=clients.state.clock),
        engine=Processes(order.processes, order.threads) if order.processes else None,
        job=job,
    )

    def copy() -> None:
        state = migration.copy()
        if state.phase != "replay":
            raise SystemExit(f"the copy ended in phase {state.phase}: {state.reason}")

    def verify() -> None:
        verdict = migration.verify()
        if not verdict.clean:
            raise SystemExit(f"the tables differ: {verdict}")

    def follow() -> None:
        migration.follow()

    return {"copy": copy, "follow": follow, "verify": verify}


if __name__ == "__main__":
    run(prepare)
