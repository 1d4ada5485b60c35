"""The task graph: what `dodo.py` calls, once a task. Only it and its three parts know doit."""

from __future__ import annotations

import atexit
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from doit import doit_cmd
from doit.exceptions import InvalidDodoFile

from fearless import names, progress
from fearless.command_line import (
    COMMANDS,
    FLAGS,
    MEANT,
    USES,
    command_line,
    tasks_of,
    variables,
)
from fearless.errors import ConfigError, FearlessError, suggest
from fearless.interfaces import Release
from fearless.procedure import Done, Procedure, Step
from fearless.project import Project
from fearless.reporter import Reporter, failed, invalid, loading
from fearless.verbs import Verbs

Task = dict[str, Any]


class Runbook:
    """Turns the steps of one project into doit tasks. Made once, at the top of `dodo.py`."""

    def __init__(self, dodo: str) -> None:
        self.root = Path(dodo).resolve().parent
        self.command, self.words = command_line()
        self.variables = variables(dict(doit_cmd._CMDLINE_VARS or {}), self.command)
        self.dry, self.json, self.yes = (self.variables[flag] == "1" for flag in FLAGS)
        self.report = progress.JsonLines(sys.stderr) if self.json else progress.report()
        self.found: dict[str, Done] = {}
        self.made: dict[str, float] = {}
        self.failed = False
        self._notes: set[str] = set()
        self._own_tasks = tasks_of(Path(dodo))
        try:
            self.project = Project(self.root)
        except FearlessError as error:
            raise loading(error) from None
        if self.command == "run":
            self._refuse_mistakes()
        signal.signal(signal.SIGTERM, lambda *_: self._leave(143))
        signal.signal(signal.SIGINT, lambda *_: self._leave(130))

    @property
    def doit_config(self) -> dict[str, Any]:
        """DOIT_CONFIG. doit's database is a cache nobody needs; it lies in `.fearless/`."""
        folder = self.project.directory
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        return {
            "default_tasks": ["status"],
            "sort": "definition",
            "verbosity": 2,
            "backend": "fearless",
            "dep_file": str(folder / "doit.db"),
            "reporter": self._reporter(),
        }

    def _reporter(self) -> type[Reporter]:
        return type("RunbookReporter", (Reporter,), {"found": self.found, "say": self.say})

    # ------------------------------------------------------------------ tasks

    def step(self, name: str, after: str | None = None) -> Task:
        """A step of the release procedure."""
        return self._task(lambda: self._step(name), name, [after] if after else [])

    def gates(self, after: str) -> Iterator[Task]:
        """One task a gate, `gate:<name>`; a plugin adds one by its `gates` hook."""
        from fearless.steps.gate import GateStep, gate_names

        def make(gate: str) -> Callable[[], Step]:
            return lambda: GateStep(self.procedure, gate)

        yield {"basename": "gate", "name": None, "doc": "Test, test, test", "task_dep": [after]}
        previous = after
        for gate in self._asked(lambda: gate_names(self.project, self.release)):
            task = self._task(make(gate), f"gate:{gate}", [previous])
            yield {"basename": "gate", "name": gate, "doc": f"Ask the gate `{gate}`", **task}
            previous = f"gate:{gate}"

    def release_task(self) -> Task:
        """All steps; stops before DNS when `[cutover] auto` is false.

        `retire` is a setup task: doit runs it when everything `release` depends on is done. As a
        dependency it would run first, because by itself it does not depend on `cutover`.
        """
        if not self.project.config.cutover.auto:
            return {"actions": [self._summary], "task_dep": ["gate"], "verbosity": 2}
        last: Task = {"task_dep": ["cutover"], "setup": ["retire"]}
        return {"actions": [self._summary], "verbosity": 2, **last}

    def devstack(self) -> Iterator[Task]:
        """The dev stack's own small graph."""
        yield {
            "basename": "devstack",
            "name": None,
            "doc": "Give a branch its own stack, or swap its container: branch=NAME",
        }
        previous: list[str] = []
        for name in ("image", "ami", "stack", "data", "deploy"):
            task = self._task(self._dev_step(name), f"devstack:{name}", previous)
            yield {"basename": "devstack", "name": name, "doc": f"Dev stack: {name}", **task}
            previous = [f"devstack:{name}"]

    def drop(self) -> Task:
        """Delete a branch's dev stack, or a candidate."""
        return self._verb(self.verbs.drop)

    def status(self) -> Task:
        """What is live, what is a candidate, who holds the lock."""
        return self._verb(self.verbs.status)

    def releases(self) -> Task:
        """The history of releases."""
        return self._verb(self.verbs.releases)

    def plan(self) -> Task:
        """What `release` would do, and whether it could."""
        return self._verb(lambda: self.verbs.plan(self._steps_of_release()))

    def rollback(self) -> Task:
        """Back to the stack that was live before."""
        return self._verb(self.verbs.rollback)

    def quarantine(self) -> Task:
        """What could not be migrated."""
        return self._verb(self.verbs.quarantine)

    def images(self) -> Task:
        """Every container image, and what uses it."""
        return self._verb(self.verbs.images)

    def image_reap(self) -> Task:
        """Delete the images that nothing uses."""
        return self._verb(self.verbs.image_reap)

    def plugin_tasks(self) -> Iterator[Task]:
        """Show the plugins; and what they add with the `tasks` hook, names checked first."""
        yield {"basename": "plugins", "doc": "Show the plugins", **self._verb(self.verbs.plugins)}
        groups = set()
        for task, origin in self._plugins_tasks:
            name = task["basename"]
            if "name" in task and name not in groups:
                groups.add(name)
                if task["name"] is not None:
                    yield {"basename": name, "name": None, "doc": f"Tasks of {origin}"}
            yield {**task, "doc": _doc(task) or f"A task of {origin}"}

    @cached_property
    def _plugins_tasks(self) -> list[tuple[Task, str]]:
        """What every plugin answers to the `tasks` hook, with its origin; names checked."""
        taken, found = {*self._own_tasks, *COMMANDS}, []
        answers = self._asked(
            lambda: self.project.plugins.ask("tasks", project=self.project, release=self.release)
        )
        for answer, origin in answers:
            for task in answer:
                name = task.get("basename")
                if not isinstance(name, str) or not name or name in taken:
                    raise InvalidDodoFile(
                        f"{origin}: a task needs a `basename` that is not taken, "
                        f"not {name or ''!r} (taken: {', '.join(sorted(taken))})"
                    )
                found.append((task, origin))
        return found

    # ------------------------------------------------------------------ what they need

    @cached_property
    def release(self) -> Release:
        """The release that sha= names (HEAD by default).

        Of a rollback it names where to go, which git need not know.
        """
        named = "" if "rollback" in self.words else self.variables["sha"]
        sha, date = self.project.git.commit(named or "HEAD")
        release = names.release(self.project.app.name, sha, date, self.variables["tag"])
        return self.project.named(release)

    @cached_property
    def procedure(self) -> Procedure:
        """The release procedure on a cloud that answers."""
        return self.procedure_of(self.release)

    @cached_property
    def verbs(self) -> Verbs:
        """What can be asked beside the procedure."""
        return Verbs(self)

    @property
    def doing(self) -> str:
        """The command, as the lock and `doit status` show it."""
        return ("doit " + " ".join(sys.argv[1:])).strip()

    @cached_property
    def dev(self) -> Procedure:
        """The procedure of branch='s dev stack, with ops code as it is on that branch."""
        branch = self.variables["branch"]
        if not branch:
            raise ConfigError("devstack needs a branch: `doit devstack branch=NAME`")
        sha, date = self.project.git.commit(branch)
        release = names.devstack(self.project.app.name, branch, sha, date)
        return self.procedure_of(self.project.named(release))

    def procedure_of(self, release: Release, look: bool = False) -> Procedure:
        """The procedure of a release, with ops code as it is at its SHA.

        To `look` only, or in a dry run, the cloud is not started.
        """
        self.project.check()
        project = self.project
        if not self.dry and not look:
            project.cloud.ensure(self.report)
        elif not look and not project.cloud.running():
            raise FearlessError("the cloud does not answer, so nothing is there yet")
        head, _ = project.git.commit("HEAD")
        if release.sha != head:
            project = project.export(release.sha)
        procedure = Procedure(project, release, self.report, self.doing)
        atexit.register(procedure.lock.release)
        where = f"branch {release.branch}" if release.branch else release.name
        if not look:
            self.say(f"{release.app} {where}, commit {release.sha}")
        return procedure

    def _step(self, name: str) -> Step:
        return self._steps()[name](self.procedure)

    def _steps(self) -> dict[str, Callable[[Procedure], Step]]:
        from fearless.steps.procedure import steps

        asked = any(word.partition(":")[0] == "sync" for word in self.words)
        return steps(asked, self.variables["accept_data_loss"] == "1")

    def _steps_of_release(self) -> dict[str, Callable[[Procedure], Step]]:
        """The steps and the gates, in order."""
        from fearless.steps.gate import GateStep, gate_names

        steps: dict[str, Callable[[Procedure], Step]] = {}
        for name, make in self._steps().items():
            if name == "cutover":
                for gate in gate_names(self.project, self.release):
                    steps[f"gate:{gate}"] = partial(GateStep, gate=gate)
            steps[name] = make
        return steps

    def _dev_step(self, name: str) -> Callable[[], Step]:
        def make() -> Step:
            from fearless import devstack

            return devstack.steps()[name](self.dev)

        return make

    # ------------------------------------------------------------------ doit's side

    def _task(self, make: Callable[[], Step], name: str, after: list[str]) -> Task:
        def there() -> bool:
            try:
                found = make().find()
            except Exception as error:
                absent = isinstance(error, FearlessError) and not isinstance(error, ConfigError)
                if self.dry and absent:
                    return self._noted(str(error.args[0]))
                self.failed = True
                raise invalid(error) from error
            if found is not None:
                self.found[name] = found
            return found is not None

        def perform() -> Any:
            return self._perform(make, name)

        return {
            "actions": [perform],
            "uptodate": [there],
            "task_dep": after,
            "verbosity": 2,
        }

    def _noted(self, reason: str) -> bool:
        """In a dry run, why a step cannot be looked for yet, said once; it is not there."""
        if reason not in self._notes:
            self._notes.add(reason)
            self.say(f"  note: {reason}")
        return False

    def _perform(self, make: Callable[[], Step], name: str) -> Any:
        if self.dry:
            self.say(f"  {name:<16} would be done")
            return True
        try:
            step = make()
            record = step.procedure.perform(step)
        except Exception as error:
            self.failed = True
            return failed(error)
        self.made[name] = record.seconds
        self.found[name] = Done(record.detail, record.data)
        self.say(f"  {name:<16} {record.detail}  ({record.seconds:.1f} s)")
        if name == "devstack:deploy":
            self._dev_summary(record.data)
        return True

    def _verb(self, function: Callable[[], Any]) -> Task:
        def run() -> Any:
            try:
                return function()
            except Exception as error:
                return failed(error)

        return {"actions": [run], "verbosity": 2}

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except FearlessError as error:
            raise loading(error) from None

    # ------------------------------------------------------------------ ends

    def _summary(self) -> Any:
        from fearless.summary import describe, summarise

        if self.dry or self.failed:
            return True
        try:
            summary = summarise(self.procedure, list(self.made))
            self.show(summary, describe(summary))
        except Exception as error:
            return failed(error)
        return True

    def _dev_summary(self, data: Any) -> None:
        total = sum(self.made.values())
        times = ", ".join(f"{n.split(':')[1]} {s:.1f} s" for n, s in self.made.items())
        result = {"url": data["url"], "sha": self.dev.release.sha, "steps": self.made}
        self.show(result, f"{data['url']}  ({times}; {total:.1f} s in all)")

    # ------------------------------------------------------------------ output

    def say(self, text: str) -> None:
        """A line of the run: stdout, or stderr when stdout is to be JSON."""
        clear = getattr(self.report, "clear", None)
        if clear is not None:
            clear()
        print(text, file=sys.stderr if self.json else sys.stdout, flush=True)

    def show(self, document: Any, text: str) -> None:
        """The answer: JSON when json=1, else for people."""
        if self.json:
            print(json.dumps(document, indent=2), flush=True)
        else:
            self.say(text)

    def _leave(self, code: int) -> None:
        self.say("interrupted: run the same command again to go on")
        sys.exit(code)

    # ------------------------------------------------------------------ the command line

    def _refuse_mistakes(self) -> None:
        """A task there is not, and a variable that no selected task uses."""
        tasks = list(self._selected())
        uses = [USES.get(task) for task in tasks or ["status"]]
        for name, value in self.variables.items():
            if not value or name in FLAGS or any(use is None or name in use for use in uses):
                continue
            meant = f"doit {MEANT[name]} {name}={value}"
            raise InvalidDodoFile(
                f"{' and '.join(tasks) or 'status'} does not use {name}=; did you mean `{meant}`?"
            )

    def _selected(self) -> Iterator[str]:
        """The tasks that the command line names, without `:<subtask>`, checked."""
        for word in self.words:
            name, colon, _ = word.partition(":")
            matching = [task for task in self._own_tasks if fnmatch(task, name)]
            yield from matching or [name]
            if matching or Path(word).exists():
                continue
            plugins = {task["basename"] for task, _ in self._plugins_tasks}
            if any(fnmatch(task, name) for task in plugins):
                return  # what follows may be the task's own arguments
            hint = suggest(name, {*self._own_tasks, *plugins, *(() if colon else COMMANDS)})
            if hint:
                raise InvalidDodoFile(f"there is no task {word!r}{hint}")


def _doc(task: Task) -> str:
    """What a plugin says its task does: `doc`, or the docstring of what the task runs."""
    if task.get("doc"):
        return str(task["doc"])
    actions: Iterable[Any] = task.get("actions") or ()
    functions = (action[0] if isinstance(action, tuple) else action for action in actions)
    docs = (function.__doc__ or "" for function in functions if hasattr(function, "__code__"))
    return next((doc.strip().splitlines()[0] for doc in docs if doc.strip()), "")
