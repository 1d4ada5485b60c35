"""A build worker: takes orders from the queue, has them built, and records what came of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from fearless.builtin.farm.log import LogWriter
from fearless.builtin.farm.message import InvalidMessage, Order, named, parse
from fearless.builtin.farm.queue import VISIBILITY, BuildQueue, NotOurs, Received
from fearless.builtin.farm.runner import Event, Runner, Running
from fearless.builtin.farm.status import ATTEMPTS, Builds, Lost, Status, WorkerRow
from fearless.data.holder import Pulse
from fearless.errors import FearlessError, explain
from fearless.interfaces import Image

POLL = 5
"""Seconds that a request waits for a message. A worker that is told to end waits for its answer:
SQS may send it a message until then, which would be lost to everybody for a whole visibility."""
TICK = 0.5
FLUSH = 0.5
AWS = (ClientError, BotoCoreError)


@dataclass(frozen=True)
class Settings:
    """How a worker works. Times in seconds; `timeout` is of a whole build with fetch and push."""

    name: str
    repositories: Mapping[str, str]
    directory: Path
    slots: int = 1
    visibility: int = VISIBILITY
    timeout: float = 3600.0
    backoff: float = 15.0
    poll: int = POLL

    @property
    def beat(self) -> float:
        """How often a message is renewed, and a sign of life given."""
        return self.visibility / 3


class Worker:
    """Several slots, each of which builds one thing at a time in a folder of its own."""

    def __init__(
        self,
        queue: BuildQueue,
        builds: Builds,
        runner: Runner,
        settings: Settings,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._builds = builds
        self._runner = runner
        self._settings = settings
        self._say = say
        self._clock = clock
        self._stopping = threading.Event()
        self._defects: list[BaseException] = []

    def run(self) -> None:
        """Work until `stop` is called. Raises what a slot did not expect."""
        settings = self._settings
        self._queue.ensure()
        now = self._builds.clock()
        row = WorkerRow(
            settings.name, settings.slots, tuple(settings.repositories), now, now, settings.beat
        )
        self._builds.report(row)
        pulse = Pulse("alive", settings.beat, lambda: self._alive(row), Lost)
        pulse.start()
        slots = [
            threading.Thread(target=self._slot, args=(number,), name=f"slot-{number}")
            for number in range(settings.slots)
        ]
        self._say(f"{settings.name}: waiting for builds in {self._queue.name}")
        try:
            for slot in slots:
                slot.start()
            for slot in slots:
                slot.join()
        finally:
            self.stop()
            pulse.stop()
            self._builds.leave(settings.name)
        if self._defects:
            raise self._defects[0]

    def stop(self) -> None:
        """Begin nothing more, and hand back what is being built. For any thread and signal."""
        self._stopping.set()

    def _alive(self, row: WorkerRow) -> None:
        self._builds.report(replace(row, seen=self._builds.clock()))

    # ------------------------------------------------------------------ slots

    def _slot(self, number: int) -> None:
        folder = self._settings.directory / f"slot-{number}"
        delay = 1.0
        try:
            while not self._stopping.is_set():
                try:
                    message = self._queue.receive(self._settings.poll, self._settings.visibility)
                    if message is not None and self._stopping.is_set():
                        self._queue.keep(message, 0)
                    elif message is not None:
                        self._handle(message, folder)
                    delay = 1.0
                except (NotOurs, Lost) as lost:
                    self._say(str(lost))
                except (FearlessError, *AWS) as error:
                    self._say(f"{explain(error)}; again in {delay:.0f} s")
                    self._stopping.wait(delay)
                    delay = min(60.0, delay * 2)
        except BaseException as error:  # noqa: BLE001 (run() raises it)
            self._defects.append(error)
            self.stop()

    def _handle(self, message: Received, folder: Path) -> None:
        try:
            order = parse(message.body)
            url = self._url(order)
        except InvalidMessage as error:
            self._refuse(message, str(error.args[0]))
            return
        held = self._builds.begin(order, self._settings.name)
        if held is None:
            self._again(message, order)
        elif held.attempts > ATTEMPTS:
            why = held.error or "each worker that began it was gone before it ended"
            self._give_up(message, held, f"given up after {ATTEMPTS} attempts: {why}")
        else:
            self._work(message, order, url, held, folder)

    def _url(self, order: Order) -> str:
        known = self._settings.repositories
        if order.repository not in known:
            raise InvalidMessage(
                f"the message names repository {order.repository!r}, and {self._settings.name} "
                f"knows {', '.join(known)}: start workers with --repository NAME=URL"
            )
        return known[order.repository]

    def _refuse(self, message: Received, reason: str) -> None:
        id = named(message.body)
        if id is not None:
            self._builds.reject(id, reason)
        self._queue.bury(message, reason)
        self._say(f"refused message {message.id}: {reason}")

    def _again(self, message: Received, order: Order) -> None:
        """A message of a build that is over: its worker died before it could remove it."""
        status = self._builds.need(order.id)
        if status.state == "failed":
            self._queue.bury(message, status.error)
        else:
            self._queue.done(message)

    def _give_up(self, message: Received, held: Status, reason: str) -> None:
        self._builds.fail(held, reason)
        self._queue.bury(message, reason)
        self._say(f"{held.id}: failed: {reason}")

    # ------------------------------------------------------------------ one build

    def _work(self, message: Received, order: Order, url: str, held: Status, folder: Path) -> None:
        settings = self._settings
        attempt = f"{held.attempts:03}-{held.begun:017.6f}"
        log = LogWriter(self._builds, order.id, attempt)
        lost = threading.Event()

        def beat() -> None:
            try:
                self._queue.keep(message, settings.visibility)
                self._builds.beat(held)
            except (NotOurs, Lost) as error:
                lost.set()
                raise Lost(str(error.args[0])) from error

        pulses = [
            Pulse("beat", settings.beat, beat, Lost),
            Pulse("log", FLUSH, log.flush, Lost),
        ]
        waited = held.begun - held.queued
        log.add(f"{settings.name}: build {order.id} of {order.repository}@{order.sha}")
        self._say(
            f"{order.id}: begun, attempt {held.attempts}, {waited:.1f} s after it was sent "
            f"(given {message.count} times)"
        )
        for pulse in pulses:
            pulse.start()
        running = self._runner.start(order, url, folder)
        try:
            end = self._watch(running, log, lost, self._clock() + settings.timeout)
        finally:
            running.kill()
            for pulse in pulses:
                pulse.stop()
        if end is None and lost.is_set():
            self._say(f"{order.id}: another worker has it now; nothing is recorded here")
            return
        if "failed" in (end or {}):
            log.add(f"failed: {end['failed']}")  # type: ignore[index]
        try:
            log.close()
        except AWS as error:  # what became of the build is worth more than its log
            self._say(f"{order.id}: the end of its log is lost: {explain(error)}")
        self._record(message, held, end)

    def _watch(
        self, running: Running, log: LogWriter, lost: threading.Event, deadline: float
    ) -> Event | None:
        """Its last event; None when it is to be left to others."""
        while not (lost.is_set() or self._stopping.is_set()):
            if self._clock() > deadline:
                took = f"{self._settings.timeout:g}"
                return {
                    "failed": f"it took longer than {took} s with fetch and push: the worker's "
                    "--timeout",
                    "again": False,
                }
            event = running.event(TICK)
            if event is not None and "line" in event:
                log.add(str(event["line"]))
            elif event is not None:
                return event
        return None

    def _record(self, message: Received, held: Status, end: Event | None) -> None:
        if end is None:
            self._builds.let_go(held, "")
            self._queue.keep(message, 0)
            self._say(f"{held.id}: handed back, this worker is told to end")
        elif "image" in end:
            image = Image(**end["image"])
            self._builds.succeed(held, image)
            self._queue.done(message)
            self._say(f"{held.id}: succeeded: {image.digest}")
        else:
            self._failed(message, held, str(end["failed"]), bool(end["again"]))

    def _failed(self, message: Received, held: Status, reason: str, again: bool) -> None:
        if not again:
            self._give_up(message, held, reason)
        elif held.attempts >= ATTEMPTS:
            self._give_up(message, held, f"given up after {ATTEMPTS} attempts: {reason}")
        else:
            delay = round(self._settings.backoff * 4 ** (held.attempts - 1))
            self._builds.let_go(held, reason)
            self._queue.keep(message, delay)
            self._say(f"{held.id}: {reason}; again in {delay} s")
