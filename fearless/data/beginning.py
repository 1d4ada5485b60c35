"""Begin a copy: everything is looked at first, then the position is fixed, and only then META."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fearless.data.calls import Caller
from fearless.data.job import Job
from fearless.data.lease import Lease
from fearless.data.position import check_no_expiry, check_tables, fix
from fearless.data.summary import new_meta
from fearless.data.tablekit import Tables
from fearless.data.tables import TableInfo, show
from fearless.errors import Refused

SEGMENT_BYTES = 64 * 1024 * 1024
"""Bytes of a table that a segment has at most, more or less: the design's C.1."""


def start(lease: Lease, tables: Tables, reader: Caller, job: Job, end: Callable[[], None]) -> None:
    """Begin the run, or begin it anew after `end` has ended what was copied before.

    Raises Refused for tables that cannot be copied, or would be copied over.
    """
    generation = int(lease.meta["generation"]) + 1
    infos = {pair.name: tables.infos(pair) for pair in tables.pairs}
    one_way = ""
    for pair in tables.pairs:
        source, target = infos[pair.name]
        check_tables(pair.name, source, target)
        check_no_expiry(reader, tables.clients.target, target.table)
        one_way = one_way or tables.pipeline(pair, source, target).one_way
        if generation == 1:
            _check_empty(reader, tables.clients.target, target)
    if lease.meta["phase"] != "none":
        lease.update({"phase": "broken", "reason": lease.meta["reason"] or "to be copied again"})
    end()
    size = max((source.size for source, _ in infos.values()), default=0)
    positions = {name: fix(reader, tables.clients.streams, *pair) for name, pair in infos.items()}
    lease.update(
        {
            **new_meta("copying", generation, positions, tables.digests()),
            "segments": max(tables.settings.segments, -(-size // SEGMENT_BYTES)),
            "repair": generation > 1,
            "one_way": one_way,
            "job": job.to_json(),
        }
    )


def _check_empty(reader: Caller, client: Any, target: TableInfo) -> None:
    page = reader.read(client.scan, TableName=target.table, ConsistentRead=True, Limit=100)
    strange = [item for item in page["Items"] if not target.test(item)]
    if strange:
        raise Refused(
            f"{target.table} is not empty and was not filled by this run (it holds "
            f"{show(target.key(strange[0]))}): a copy goes into a new stack's empty tables"
        )
