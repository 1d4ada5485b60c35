"""Units in processes of this machine, one for each core, with threads inside for the waiting."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from types import TracebackType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fearless.builtin.engines.hands import Child, Hand, Inline, Staff, Terms
from fearless.data.job import Job
from fearless.data.pipe import frozen, retold
from fearless.data.unit import Unit
from fearless.errors import ConfigError, FearlessError
from fearless.interfaces import Report

WORKER = "fearless.data.hire:worker"
TICK = 0.1
RENEWAL = 60.0
STARTS = 3
INLINE = 2
SAYINGS = 100
HURRY = 5.0


class Processes:
    """The engine of one machine: no broker, nothing to install.

    `processes` is how many work at once: one for each core when left out, hired only for what is
    not done within a second by this process itself; 0 hires nobody ever. `threads` is how many
    units each has in hand, most of which wait for an answer. Whoever gives no sign of life for
    `silence_seconds` is killed and replaced.
    """

    def __init__(
        self, processes: int | None = None, threads: int = 8, silence_seconds: float = 30.0
    ) -> None:
        for name, value, least in (("processes", processes or 0, 0), ("threads", threads, 1)):
            if value < least:
                raise ConfigError(f"[engine] {name} = {value}: it must be at least {least}")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        wanted = cores if processes is None else processes
        self._staff = Staff(
            processes=0 if processes is None and cores == 1 else wanted,
            threads=threads,
            patience=1.0 if processes is None else 0.0,
            silence=silence_seconds,
        )

    def crew(self, job: Job, report: Report) -> ProcessCrew:
        """Workers for the job; they work while in a `with` block."""
        return ProcessCrew(job, report, self._staff)


class ProcessCrew:
    """The workers of one job. One thread, the foreman, knows who has which unit in hand."""

    def __init__(
        self,
        job: Job,
        report: Report,
        staff: Staff,
        hire: str = WORKER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._report = report
        self._staff = staff
        self._terms = Terms(job, hire, staff.threads, staff.grace)
        self._clock = clock
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: dict[Unit, None] = {}
        self._suspects: dict[Unit, None] = {}
        self._in_hand: set[Unit] = set()
        self._deaths: dict[Unit, int] = {}
        self._hands: list[Hand] = []
        self._error: FearlessError | None = None
        self._idle = threading.Event()
        self._leaving = self._hurry = False
        self._began = self._ticked = self._left = 0.0
        self._renewed = 0.0
        self._numbers = self._failed_starts = self._sayings = 0
        self._credentials: dict[str, Any] = {}
        self._pool = ThreadPoolExecutor(1, "foreman")
        self._foreman: Future[None] | None = None

    # ------------------------------------------------------------------ what callers use

    def offer(self, units: Sequence[Unit]) -> None:
        """Get each performed, soon. Raises what a worker failed with since the last offer.

        Returns when nothing is left to do, or after a moment (the job's `poll`).
        """
        self._idle.clear()
        self._events.put(partial(self._take, tuple(units)))
        self._idle.wait(self._job.settings.poll)
        if self._foreman is not None and self._foreman.done():
            self._foreman.result()
            raise FearlessError("units were offered to a crew that has left")
        error, self._error = self._error, None
        if error is not None:
            raise error

    @property
    def pids(self) -> list[int]:
        """The processes that work now."""
        return [hand.pid for hand in list(self._hands) if isinstance(hand, Child)]

    def __enter__(self) -> ProcessCrew:
        """Begin; nobody is hired before there is something to do."""
        self._began = self._ticked = self._renewed = self._clock()
        self._foreman = self._pool.submit(self._work)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Everybody finishes what was begun and goes; who does not, within its time, is killed."""
        foreman = self._foreman
        if foreman is None:
            return
        try:
            self._events.put(self._leave)
            failure = foreman.exception()
        except BaseException:
            self._hurry = True
            wait([foreman], HURRY)
            raise
        finally:
            self._pool.shutdown(wait=False)
        if failure is not None and error is None:
            raise failure

    # ------------------------------------------------------------------ the foreman

    def _work(self) -> None:
        try:
            while not self._leaving or any(not self._hurry or hand.mortal for hand in self._hands):
                with contextlib.suppress(queue.Empty):
                    self._events.get(timeout=TICK)()
                if self._clock() - self._ticked >= TICK:
                    self._ticked = self._clock()
                    self._tick()
                if not self._leaving:
                    self._dispatch()
                if self._error or not (self._waiting or self._suspects or self._in_hand):
                    self._idle.set()
        finally:
            self._idle.set()
            for hand in self._hands:
                hand.kill()

    def _take(self, units: Sequence[Unit]) -> None:
        if self._leaving:
            return
        for unit in units:
            if unit in self._in_hand:
                continue
            if self._deaths.get(unit, 0) > 1:
                self._suspects[unit] = None
            else:
                self._waiting[unit] = None

    def _leave(self) -> None:
        self._leaving = True
        self._waiting.clear()
        self._suspects.clear()
        for hand in self._hands:
            hand.leave()
            hand.quiet = 0

    def _tick(self) -> None:
        """Counts ticks, not seconds: those who sleep with us, in a laptop, are not silent."""
        self._left += TICK if self._leaving else 0.0
        overdue = self._hurry or self._left > self._staff.grace
        limit = min(self._staff.silence, 10.0) if self._leaving else self._staff.silence
        for hand in self._hands:
            if isinstance(hand, Child):
                hand.quiet += 1
                if overdue or hand.quiet * TICK > (limit if hand.ready else max(60.0, limit)):
                    hand.kill()
        if self._clock() - self._renewed > RENEWAL:
            self._renewed = self._clock()
            self._renew()

    def _renew(self) -> None:
        now = self._credentials
        with contextlib.suppress(BotoCoreError, ClientError):
            now = frozen(self._job.credentials)
        if now != self._credentials:
            self._credentials = now
            for hand in self._hands:
                hand.renew(now)

    # ------------------------------------------------------------------ hiring and giving

    def _dispatch(self) -> None:
        if not self._waiting and not self._suspects:
            return
        self._hire()
        hands = [hand for hand in self._hands if hand.ready]
        children = [hand for hand in hands if isinstance(hand, Child)]
        if self._suspects and children:
            alone = min(children, key=lambda hand: len(hand.units))
            hands.remove(alone)
            if not alone.units:
                self._give(alone, self._suspects)
        if any(isinstance(hand, Child) for hand in self._hands):
            hands = [hand for hand in hands if isinstance(hand, Child)]
        while self._waiting:
            free = [hand for hand in hands if len(hand.units) < hand.room]
            if not free:
                return
            self._give(min(free, key=lambda hand: len(hand.units)), self._waiting)

    def _give(self, hand: Hand, units: dict[Unit, None]) -> None:
        unit = next(iter(units))
        del units[unit]
        self._in_hand.add(unit)
        self._numbers += 1
        hand.give(self._numbers, unit)

    def _hire(self) -> None:
        inline = [hand for hand in self._hands if isinstance(hand, Inline)]
        impatient = self._clock() - self._began >= self._staff.patience
        if self._staff.processes and impatient:
            work = len(self._waiting) + len(self._suspects) + len(self._in_hand)
            children = len(self._hands) - len(inline)
            for _ in range(min(self._staff.processes, work) - children):
                self._hands.append(Child(self._terms, self._tell))
        elif not inline:
            room = INLINE if self._staff.processes else self._staff.threads
            self._hands.append(Inline(self._terms, room, self._tell))

    # ------------------------------------------------------------------ what hands say

    def _tell(self, hand: Hand, said: dict[str, Any]) -> None:
        self._events.put(partial(self._hear, hand, said))

    def _hear(self, hand: Hand, said: dict[str, Any]) -> None:
        hand.quiet = 0
        if "done" in said or "failed" in said:
            self._answered(hand, said)
        elif "ready" in said:
            hand.ready, self._failed_starts = True, 0
            if self._credentials:
                hand.renew(self._credentials)
        elif "says" in said and self._sayings < SAYINGS:
            self._sayings += 1
            self._report.line(f"worker: {said['says']}")
        elif "lost" in said:
            hand.ready = False
        elif "gone" in said:
            self._gone(hand, int(said["gone"]), said["words"])

    def _answered(self, hand: Hand, said: dict[str, Any]) -> None:
        number = said["done"] if "done" in said else said["failed"]
        if number is not None:
            unit = hand.units.pop(number)
            self._in_hand.discard(unit)
            self._deaths.pop(unit, None)
        else:
            self._waiting.clear()
            self._suspects.clear()
        if "error" in said and self._error is None:
            self._error = retold(said["error"])

    def _gone(self, hand: Hand, code: int, words: str) -> None:
        self._hands.remove(hand)
        if isinstance(hand, Child) and not hand.ready and code:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                self._error = self._error or FearlessError(
                    f"worker processes end as soon as they start (exit code {code}): {words}"
                )
        for unit in hand.units.values():
            self._in_hand.discard(unit)
            if code:
                self._deaths[unit] = self._deaths.get(unit, 0) + 1
                if self._deaths[unit] >= self._staff.attempts:
                    del self._deaths[unit]
                    self._error = self._error or self._deadly(unit, code, words)
                    continue
            self._take([unit])

    def _deadly(self, unit: Unit, code: int, words: str) -> FearlessError:
        died = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return FearlessError(
            f"{unit.kind} of {unit.table}, part {unit.part}: the worker process {died}, "
            f"{self._staff.attempts} times{f' ({words})' if words else ''}; is there enough "
            "memory, and does a transform call native code?"
        )
