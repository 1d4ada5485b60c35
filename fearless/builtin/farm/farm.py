"""A farm as those see it who send builds and wait for them: its queue, its rows, its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from fearless.builtin.farm.log import LogReader
from fearless.builtin.farm.message import InvalidMessage, Options, Order, key, parse
from fearless.builtin.farm.queue import BuildQueue, Dead
from fearless.builtin.farm.status import Builds, Status
from fearless.errors import ConfigError, FearlessError, Refused

MOST = 9999
"""Builds of the same commit with the same options, within the days that rows are kept."""
START = "fearless build worker"


class NoWorker(FearlessError):
    """A build waits, and nobody is there to do it."""


class TookTooLong(FearlessError):
    """A build is not over yet; it goes on."""


@dataclass(frozen=True)
class Sent:
    """A build somebody may wait for. `new` is False for one that there was already."""

    status: Status
    new: bool


class Farm:
    """The queues `<name>.fifo` and `<name>-dead.fifo`, and the table `fearless-<name>`."""

    def __init__(
        self,
        sqs: Any,
        dynamodb: Any,
        name: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.queue = BuildQueue(sqs, name)
        self.builds = Builds(dynamodb, f"fearless-{name}", clock)
        self._clock = clock
        self._sleep = sleep

    def send(
        self,
        options: Options,
        repository: str,
        sha: str,
        ref: str,
        requested_by: str,
        *,
        branch: str | None = None,
        again: bool = False,
    ) -> Sent:
        """Order a build, or join one of the same that waits or goes on already.

        One that succeeded is the answer unless `again`; one that failed is ordered anew. The id
        is counted up by conditional writes, so that of two senders one joins the other. Raises
        ConfigError for what no worker would take.
        """
        self.queue.ensure()
        for number in range(1, MOST):
            id = f"{key(repository, sha, options)}.{number}"
            known = self.builds.status(id)
            if known is None:
                order = _order(
                    id=id,
                    repository=repository,
                    ref=ref,
                    sha=sha,
                    branch=branch,
                    requested_by=requested_by,
                    options=options,
                )
                new = self.builds.add(order)
                self.queue.send(order)
                return Sent(self.builds.need(id), new)
            if not known.over:
                self.queue.send(parse(known.message))  # it may be lost; twice is once
            if not known.over or (known.state == "succeeded" and not again):
                return Sent(known, False)
        raise Refused(f"{sha[:10]} was built {MOST - 1} times; commit something else")

    def redrive(self, letter: Dead) -> Sent:
        """Order a dead build once more, and forget the letter. Refuses one that is not valid."""
        try:
            order = parse(letter.body)
        except InvalidMessage as error:
            self.queue.put_back(letter)
            raise Refused(
                f"dead letter {letter.id[:8]} cannot be sent again: {error.args[0]}; send the "
                "build anew, and purge the letter"
            ) from None
        sent = self.send(
            order.options,
            order.repository,
            order.sha,
            order.ref,
            order.requested_by,
            branch=order.branch,
            again=True,
        )
        self.queue.forget(letter)
        return sent

    def watch(
        self,
        id: str,
        say: Callable[[Sequence[str]], None],
        *,
        patience: float,
        timeout: float | None = None,
        poll: float = 1.0,
    ) -> Status:
        """Wait until the build is over, passing on its log as it comes.

        Raises NoWorker when nothing is heard of the build, nor of any worker, for `patience`
        seconds, and TookTooLong after `timeout` seconds. The build stays where it is.
        """
        log = LogReader(self.builds, id)
        began = heard = self._clock()
        last = self.builds.need(id)
        told = False
        while True:
            status = self.builds.need(id)
            lines = log.lines()
            if lines:
                say(lines)
            now = self._clock()
            if status.over:
                return status
            if lines or status != last or self.builds.workers():
                heard, last = now, status
            elif not told:
                say([f"no build worker is alive on {self.name}: start one with `{START}`"])
                told = True
            if now - heard > patience:
                raise NoWorker(
                    f"build {id} is {status.state}, and no worker was heard of for {patience:g} s: "
                    f"start one with `{START}`; the build waits, and whoever asks for it again "
                    "joins it"
                )
            if timeout is not None and now - began > timeout:
                raise TookTooLong(
                    f"build {id} is {status.state} after {timeout:g} s; it goes on: "
                    f"`fearless build wait {id}`"
                )
            self._sleep(poll)


def _order(**fields: Any) -> Order:
    try:
        return Order(**fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise ConfigError(
            f"{name} {fields.get(name)!r} cannot be sent to a build worker: {first['msg']}"
        ) from None
