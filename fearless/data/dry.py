"""Try a run's transforms on some items of each table, writing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fearless.data.calls import Caller
from fearless.data.fetch import family
from fearless.data.job import Clients, Pair
from fearless.data.machinery import Machinery
from fearless.data.position import describe
from fearless.data.sample import Trial
from fearless.data.tables import TableInfo, Typed
from fearless.data.transform import Pipeline
from fearless.interfaces import Report, Sample, Transform

SPREAD = 16
"""Segments that a sample is taken from: neighbours are too much alike."""


def dry_run(
    clients: Clients,
    pairs: Sequence[Pair],
    transforms: Sequence[Transform],
    count: int,
    report: Report,
    machinery: Machinery | None = None,
    values: bool = False,
) -> list[Sample]:
    """A report for each table that a transform touches, of `count` items at most.

    The source's tables are read, a little of each of several segments.
    """
    kit = machinery or Machinery()
    reader = Caller(lambda: None, lambda: None, kit.clock, kit.sleep, rng=kit.random())
    found = []
    for pair in pairs:
        if not any(pair.name in transform.tables for transform in transforms):
            continue
        source = describe(reader, clients.source, pair.source)
        target = describe(reader, clients.target, pair.target)
        pipeline = Pipeline(pair.name, target, transforms, source)
        items = _some(reader, clients.source, source, count)
        report.progress(f"sample {pair.name}", len(items), count)
        partition = partial(_partition, reader, clients.source, source)
        found.append(Trial(pair.name, pipeline, values, partition).run(items).sample)
    return found


def _partition(reader: Caller, client: Any, info: TableInfo, item: Typed) -> list[Typed]:
    return family(reader, client, info, item, None)


def _some(reader: Caller, client: Any, info: TableInfo, count: int) -> list[Typed]:
    items: list[Typed] = []
    each = max(1, -(-count // SPREAD))
    for segment in range(SPREAD):
        page = reader.read(
            client.scan,
            TableName=info.table,
            Limit=min(each, count - len(items)),
            Segment=segment,
            TotalSegments=SPREAD,
        )
        items += [item for item in page["Items"] if not info.sentinel(item)]
        if len(items) >= count:
            break
    return items
