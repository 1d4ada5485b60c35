"""A copier on aiodynamo (PyPI), an asyncio client without botocore: parallel scan, batches."""

from __future__ import annotations

import asyncio
from typing import Any

from aiodynamo.client import Client, Table  # type: ignore[import-not-found]
from aiodynamo.credentials import Key, StaticCredentials  # type: ignore[import-not-found]
from aiodynamo.http.httpx import HTTPX  # type: ignore[import-not-found]
from aiodynamo.models import BatchWriteRequest  # type: ignore[import-not-found]
from httpx import AsyncClient  # type: ignore[import-not-found]
from yarl import URL  # type: ignore[import-not-found]

from benchmarks.contenders.program import Order, Steps, run

BATCH = 25


def prepare(order: Order) -> Steps:
    """Nothing to prepare: the client lives in the event loop."""
    return {"copy": lambda: asyncio.run(copy(order))}


async def copy(order: Order) -> None:
    """Scan as its generator gives the items; write 25 at a time."""
    async with AsyncClient() as http:
        client = Client(
            HTTPX(http), StaticCredentials(Key("test", "test")), "us-east-1", URL(order.url)
        )
        source: Table = client.table(order.source)
        writers: list[asyncio.Task[None]] = []
        batch: list[dict[str, Any]] = []
        async for item in source.scan():
            batch.append(item)
            if len(batch) == BATCH:
                writers.append(asyncio.create_task(_write(client, order.target, batch)))
                batch = []
            if len(writers) >= order.threads:
                await asyncio.gather(*writers)
                writers.clear()
        if batch:
            await _write(client, order.target, batch)
        await asyncio.gather(*writers)


async def _write(client: Client, table: str, items: list[dict[str, Any]]) -> None:
    left = BatchWriteRequest(items_to_put=items)
    while left is not None:
        answer = await client.batch_write({table: left})
        left = answer.get(table)


if __name__ == "__main__":
    run(prepare)
