"""Fence by the team's own commands: a maintenance switch of the application, whatever it is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fearless.data.fences import Memory
from fearless.errors import ConfigError, FearlessError
from fearless.interfaces import Report


@dataclass(frozen=True)
class Commands:
    """What to run, each a program and its arguments: no shell is involved.

    `check` exits 0 while the application cannot write, 1 while it can. Each gets
    FEARLESS_FENCE_ATTEMPT, and `fence` also FEARLESS_FENCE_SECONDS (empty: for good).
    """

    fence: tuple[str, ...]
    unfence: tuple[str, ...]
    check: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, argv in vars(self).items():
            if isinstance(argv, str) or not argv or not all(isinstance(a, str) for a in argv):
                raise ConfigError(
                    f"the fence's command `{name}` must be a list of strings, the program first, "
                    f"not {argv!r}"
                )


class HookFence:
    """Runs the commands; one that fails, or takes longer than `timeout` seconds, is an error.

    `timed` says that the command `fence` makes it lift itself after FEARLESS_FENCE_SECONDS.
    It counts once `check` has said so `attempts` times in a row over `seconds`. `memory` keeps the
    number of the attempt, so that a late process undoes nothing of a later one; `name` tells the
    sides apart in it.
    """

    def __init__(
        self,
        commands: Commands,
        report: Report,
        memory: Memory,
        name: str,
        timed: bool = False,
        timeout: float = 30.0,
        attempts: int = 3,
        seconds: float = 2.0,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.timed = timed
        self._commands = commands
        self._report = report
        self._memory = memory
        self._row = f"hook {name}"
        self._timeout = timeout
        self._attempts = attempts
        self._seconds = seconds
        self._environment = dict(os.environ if environment is None else environment)
        self._clock = clock
        self._sleep = sleep

    def fence(self, attempt: int, seconds: float | None) -> None:
        """Run `fence`, unless this or a later attempt has done so for good."""
        row = self._memory.load(self._row)
        if row and int(row["attempt"]) >= attempt + (0 if row["sealed"] and seconds else 1):
            return
        self._memory.save(self._row, {"attempt": attempt, "sealed": seconds is None})
        lasts = "" if seconds is None else str(max(1, int(seconds)))
        self._need(self._commands.fence, attempt, {"FEARLESS_FENCE_SECONDS": lasts})

    def unfence(self, attempt: int) -> None:
        """Run `unfence`, unless a later attempt has fenced."""
        row = self._memory.load(self._row)
        if row and int(row["attempt"]) > attempt:
            return
        self._need(self._commands.unfence, attempt)

    def confirm(self, report: Report) -> str:
        """Run `check` until it has said "fenced" often enough."""
        started = since = self._clock()
        good = 0
        while good < self._attempts or self._clock() - since < self._seconds:
            if self._clock() - started > max(60.0, 6 * self._seconds):
                raise FearlessError(
                    f"`{' '.join(self._commands.check)}` still says that the application can "
                    "write, a minute after the fence: nothing was switched"
                )
            if self.fenced():
                good += 1
            else:
                good, since = 0, self._clock()
            report.progress("confirming the fence", good, self._attempts)
            self._sleep(self._seconds / self._attempts)
        return f"`{' '.join(self._commands.check)}` said {good} times that nothing can write"

    def fenced(self) -> bool:
        """What `check` says."""
        status = self._run(self._commands.check, {})
        if status not in (0, 1):
            raise self._failed(self._commands.check, f"exited with {status}, not 0 or 1")
        return status == 0

    def _need(
        self, argv: Sequence[str], attempt: int, more: Mapping[str, str] | None = None
    ) -> None:
        status = self._run(argv, {"FEARLESS_FENCE_ATTEMPT": str(attempt), **(more or {})})
        if status:
            raise self._failed(argv, f"exited with {status}")

    def _run(self, argv: Sequence[str], more: Mapping[str, str]) -> int:
        try:
            process = subprocess.Popen(
                list(argv),
                env={**self._environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise self._failed(argv, f"cannot be run: {error}") from error
        try:
            output, _ = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            self._show(argv, output)
            raise self._failed(argv, f"took longer than {self._timeout:.0f} s") from error
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        self._show(argv, output)
        return process.returncode

    def _show(self, argv: Sequence[str], output: str) -> None:
        for line in output.splitlines()[-20:]:
            self._report.line(f"{argv[0]}: {line}")

    @staticmethod
    def _failed(argv: Sequence[str], how: str) -> FearlessError:
        return FearlessError(f"the fence's command `{' '.join(argv)}` {how}; its output is above")
