"""How doit's run is told: what a step found or made, and failures as the one line they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from doit.exceptions import InvalidDodoFile, InvalidTask, TaskFailed
from doit.reporter import ConsoleReporter

from fearless.errors import FearlessError, explain
from fearless.procedure import Done


class Reporter(ConsoleReporter):  # type: ignore[misc]
    """`found` has what each task found, `say` prints a line of the run."""

    found: Mapping[str, Done]
    say: Callable[[str], None]

    def execute_task(self, task: Any) -> None:
        """The step itself says what it made."""

    def skip_uptodate(self, task: Any) -> None:
        """Say what is there already."""
        found = self.found.get(task.name)
        if found is not None:
            type(self).say(f"  {task.name:<16} {found.detail}  (there already)")

    def skip_ignore(self, task: Any) -> None:
        """`doit ignore` skips a task and everything after it: never silently."""
        sys.stderr.write(f"  {task.name:<16} skipped: `doit ignore` was used on it\n")

    def _write_failure(self, result: Any, write_exception: bool = True) -> None:
        failure = result["exception"]
        text = failure.message if isinstance(failure, TaskFailed) else failure.get_msg()
        sys.stderr.write(text.rstrip() + "\n")

    def complete_run(self) -> None:
        """Errors found while asking what is there already."""
        for message in self.runtime_errors:
            sys.stderr.write(message.rstrip() + "\n")


def loading(error: FearlessError) -> Any:
    """doit itself prints `ERROR: ` before what goes wrong while dodo.py is read."""
    return InvalidDodoFile(str(error).removeprefix("error: "))


def failed(error: Exception) -> Any:
    """What an action returns that failed; raises what is nobody's to explain."""
    explained = explain(error)
    if explained is None:
        raise error
    return TaskFailed(str(explained))


def invalid(error: Exception) -> Exception:
    """What to raise while doit asks whether a task is up to date."""
    explained = explain(error)
    return error if explained is None else InvalidTask(str(explained))
