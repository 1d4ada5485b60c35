"""Do several things at once and stop all of them when one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Protocol


class Runner(Protocol):
    """Runs tasks, in any order or at once, and returns their answers in order."""

    def __call__(self, tasks: Sequence[Callable[[], Any]], halt: threading.Event) -> list[Any]:
        """Run all; set `halt` and wait for the rest when one raises, then raise that."""


class Threads:
    """Runs tasks in `count` threads."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, tasks: Sequence[Callable[[], Any]], halt: threading.Event) -> list[Any]:
        """Run all; the first error wins."""
        if not tasks:
            return []
        with ThreadPoolExecutor(min(self._count, len(tasks)), "data") as pool:
            futures = [pool.submit(task) for task in tasks]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                failed = [f for f in futures if f in done and f.exception() is not None]
                if failed:
                    failed[0].result()
                return [future.result() for future in futures]
            except BaseException:
                halt.set()
                for future in futures:
                    future.cancel()
                pool.shutdown(wait=True)
                halt.clear()
                raise
